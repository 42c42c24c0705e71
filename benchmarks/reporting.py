"""Where a benchmark's figures go: a JSON file with all that is needed to make them again."""

import json
import os
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

import torch

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
    used = [package for package in PACKAGES if package.replace("-", "_") in sys.modules]
    meta = {
        "command": f"python -m {sys.modules['__main__'].__spec__.name}",
        "settings": settings,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in used}},
        "machine": {
            "processor": torch.cpu.get_capabilities().get("cpu_name", platform.machine()),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"meta": meta, "figures": figures}, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    print(f"written to {path}")


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most of repeated measurements, to four digits."""
    return {
        "median": float(f"{statistics.median(values):.4g}"),
        "min": float(f"{min(values):.4g}"),
        "max": float(f"{max(values):.4g}"),
    }
