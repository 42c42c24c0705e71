"""How good the recommendations are: the committed reports `<data>-<split>.json`, made by whyrec's own commands.

    python -m benchmarks.quality --data movielens-small --split temporal
    python -m benchmarks.quality --games FOLDER      everything; FOLDER holds Amazon Games (see README)

Workspaces are kept in --work, so an interrupted run goes on where it was.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.reporting import RESULTS

GAMES = "amazon-games"
DEMOS = {"movielens-small": "movielens", "movielens-100k": "movielens-100k"}
# Data, split and what `whyrec evaluate` is told beside them. EASE on all of Games takes a minute for each trial.
RUNS = [
    ("movielens-100k", "random", ["--relevant", "any", "--seeds", "3"]),
    ("movielens-small", "temporal", []),
    ("movielens-small", "cold-items", ["--seeds", "3"]),
    (GAMES, "leave-last", ["--users", "2000", "--trials", "4"]),
    (GAMES, "cold-items", ["--users", "2000", "--trials", "4"]),
]


def whyrec(*arguments: object) -> None:
    """Run the command as a person would."""
    words = ["whyrec", *map(str, arguments)]
    print("$", *words, flush=True)
    subprocess.run([sys.executable, "-c", "from agent.cli import main; main()", *words[1:]], check=True)


def workspace(data: str, work: Path, games: Path | None) -> Path:
    """The workspace of a data set, made when there is none yet."""
    root = work / data
    if not (root / "whyrec.toml").is_file():
        if data in DEMOS:
            whyrec("init", root, "--demo", DEMOS[data])
        elif games is None:
            sys.exit(f"{data} is not packaged: give its folder with --games")
        else:
            tables = ["--items", games / "items.parquet", "--events", games / "interactions.parquet"]
            whyrec("init", root, *tables, "--noun", "game")
    whyrec("index", "-w", root)
    return root


def main() -> None:
    """Make the reports that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted({data for data, _, _ in RUNS}))
    parser.add_argument("--split", choices=sorted({split for _, split, _ in RUNS}))
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    for data, split, options in RUNS:
        if asked.data not in (None, data) or asked.split not in (None, split):
            continue
        if data == GAMES and asked.games is None and asked.data is None:
            print(f"{data} {split}: left out, no --games FOLDER")
            continue
        root = workspace(data, asked.work, asked.games)
        out = asked.work / f"{data}-{split}"
        shutil.rmtree(out, ignore_errors=True)
        whyrec("evaluate", "-w", root, "--split", split, *options, "--name", data, "--out", out)
        shutil.copy(out / "report.json", RESULTS / f"{data}-{split}.json")


if __name__ == "__main__":
    main()
