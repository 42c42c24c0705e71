"""Tune the packaged writer, and put it into the package. It learns from no data.

    python -m benchmarks.pretrained_writer

Interrupted, it goes on where it was with --resume.
"""

import argparse
import shutil
from pathlib import Path

from agent.cli.console import Steps, say
from agent.models import Models
from agent.settings import PACKAGED_WRITER, load_settings
from agent.writer_tuning import Plan, WriterTuner, lora_tuning
from retrieval.artefacts import atomic_folder


def main() -> None:
    """Tune and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where versions are kept")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    asked = parser.parse_args()
    folder = asked.work / "pretrained-writer"
    with Steps() as watch:
        tuner = WriterTuner(Models(load_settings(None), say), Plan(), lora_tuning(), folder, watch)
        version, _ = tuner.run("python -m benchmarks.pretrained_writer", resume=asked.resume)
    print((folder / version / "README.md").read_text(encoding="utf-8"))
    with atomic_folder(PACKAGED_WRITER, replace=True) as work:
        shutil.copytree(folder / version, work, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
