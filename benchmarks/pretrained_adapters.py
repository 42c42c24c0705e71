"""Tune the packaged writer or reader of intents, and put it into the package.

    python -m benchmarks.pretrained_adapters writer
    python -m benchmarks.pretrained_adapters intent

The writer learns from sentences alone, the reader from utterances about MovieLens-small's titles and genres.
Interrupted, it goes on where it was with --resume.
"""

import argparse
import shutil
from pathlib import Path

from agent import intent_tuning
from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.intent_tuning import IntentTuner
from agent.models import Models
from agent.settings import PACKAGED_ADAPTERS, load_settings
from agent.writer_tuning import Plan, WriterTuner, lora_tuning
from benchmarks.quality import workspace
from retrieval.artefacts import atomic_folder


def main() -> None:
    """Tune and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(PACKAGED_ADAPTERS))
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where versions are kept")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    asked = parser.parse_args()
    folder = asked.work / "pretrained-adapters" / asked.kind
    models, command = Models(load_settings(None), say), f"python -m benchmarks.pretrained_adapters {asked.kind}"
    with Steps() as watch:
        tuner: WriterTuner | IntentTuner
        if asked.kind == "writer":
            tuner = WriterTuner(models, Plan(), lora_tuning(), folder, watch)
        else:
            catalog = open_workspace(workspace("movielens-small", asked.work, None, {})).workspace.catalog
            tuner = IntentTuner(models, catalog, intent_tuning.Plan(), intent_tuning.lora_tuning(), folder, watch)
        version, _ = tuner.run(command, resume=asked.resume)
    print((folder / version / "README.md").read_text(encoding="utf-8"))
    with atomic_folder(PACKAGED_ADAPTERS[asked.kind], replace=True) as work:
        shutil.copytree(folder / version, work, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
