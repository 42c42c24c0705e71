"""How true, varied and personal explanations are: the committed reports `<data>-explanations.json` and their pages.

    python -m benchmarks.explanations --data movielens-small
    python -m benchmarks.explanations --data amazon-games --games FOLDER      FOLDER holds Amazon Games (see README)

A thousand explanations each by the writer, by the language model untuned, and by the templates, with nothing trained in
the workspace but what comes with whyrec.
"""

import argparse
import shutil
from pathlib import Path

from benchmarks.quality import GAMES, whyrec, workspace
from benchmarks.reporting import RESULTS

SYSTEMS = "writer,template,lm-zero-shot"


def main() -> None:
    """Make the report that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["movielens-small", GAMES], default="movielens-small")
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    root = workspace(asked.data, asked.work / "explanations", asked.games, {})
    name = f"{asked.data}-explanations"
    out = asked.work / name
    shutil.rmtree(out, ignore_errors=True)
    words = ("evaluate", "explanations", "--count", asked.count, "--systems", SYSTEMS, "--name", asked.data)
    whyrec(*words, "--out", out, "-w", root, settings={})
    for kind in ("json", "html"):
        shutil.copy(out / f"report.{kind}", RESULTS / f"{name}.{kind}")


if __name__ == "__main__":
    main()
