"""Where a benchmark's figures go: a JSON file with all that is needed to make them again."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from agent.evaluation.report import Row

PACKAGES = (
    "chromadb",
    "implicit",
    "lenskit",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "polars",
    "scipy",
    "sentence-transformers",
    "torch",
    "transformers",
)
RESULTS = Path(__file__).parent / "results"


def write_report(name: str, figures: dict[str, object], **settings: object) -> None:
    """Write ``benchmarks/results/<name>.json`` and print the figures."""
    _write(name, {"meta": _meta(settings), "figures": figures})
    print(json.dumps(figures, indent=1))


def write_rows(
    name: str, rows: Sequence[Row], comparisons: Sequence[dict[str, object]] = (), **settings: object
) -> None:
    """The same in the tidy form of `whyrec evaluate`: a row for each system, stratum and metric."""
    _write(name, {"meta": _meta(settings), "rows": [asdict(row) for row in rows], "comparisons": [*comparisons]})
    for row in rows:
        print(f"{row.system:20} {row.stratum:12} {row.metric:16} {row.mean}")


def _meta(settings: dict[str, object]) -> dict[str, object]:
    used = [package for package in PACKAGES if package.replace("-", "_") in sys.modules]
    return {
        "command": f"python -m {sys.modules['__main__'].__spec__.name}",
        "settings": settings,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in used}},
        "machine": {
            "processor": torch.cpu.get_capabilities().get("cpu_name", platform.machine()),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
    }


def _write(name: str, report: dict[str, object]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {path}")


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most of repeated measurements, to four digits."""
    return {
        "median": float(f"{statistics.median(values):.4g}"),
        "min": float(f"{min(values):.4g}"),
        "max": float(f"{max(values):.4g}"),
    }
