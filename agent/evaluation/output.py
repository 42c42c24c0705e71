"""A report as files, and what it says about how it was made."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from retrieval.artefacts import atomic_folder

PACKAGES = ("whyrec", "numpy", "scipy", "scikit-learn", "implicit", "optuna", "polars", "chromadb", "torch")


def versions() -> dict[str, str]:
    """Of Python and of the packages that figures can depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def machine() -> dict[str, Any]:
    """System, processor and cores."""
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def write_report(folder: Path, report: dict[str, Any], page: str) -> None:
    """Write ``report.json`` (one row a line) and ``report.html`` into a new folder."""
    with atomic_folder(folder) as work:
        (work / "report.json").write_text(as_text(report), encoding="utf-8")
        (work / "report.html").write_text(page, encoding="utf-8")


def as_text(report: dict[str, Any]) -> str:
    """The report as JSON that a person and a diff can read: one row a line."""
    parts = [f'"meta": {json.dumps(report["meta"], indent=1, ensure_ascii=False)}']
    for name in ("rows", "comparisons"):
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in report[name])
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"
