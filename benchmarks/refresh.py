"""What `whyrec refresh` finds and does when a fifth of the events is new: the committed report `refresh-<data>.json`.

    python -m benchmarks.refresh

Scorers and student are made of the events up to 80 % of the time-ordered ones, by whyrec's own commands and without a
language model; `whyrec refresh` reads the rest from a file. `now` and `retrained` are NDCG@10 on the newest half
of that file, which neither has seen. The control draws as many events at random and calls these new: what the indices
say where nothing has drifted.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from agent.cli.options import open_workspace
from agent.evaluation.study import Question, Study
from agent.models import Models
from benchmarks.quality import DEMOS, whyrec, workspace
from benchmarks.reporting import write_report
from retrieval.drift import find_clusters, popularity_drift, profile_drift

SHARE, TRIALS, SEED = 0.8, 8, 0
ALONE = {"WHYREC_RANKING__RANKER": "off"}


def old_workspace(source: Path, root: Path) -> Path:
    """A workspace of the older events at ``root``, made where there is none; the file of the newer ones."""
    events = open_workspace(source).workspace.events().collect().sort("timestamp", "user_id", "item_id")
    moment = events["timestamp"][int(len(events) * SHARE)]
    old, new = root.with_suffix(".old.parquet"), root.with_suffix(".new.parquet")
    events.filter(pl.col("timestamp") < moment).write_parquet(old)
    events.filter(pl.col("timestamp") >= moment).write_parquet(new)
    if not (root / "whyrec.toml").is_file():
        items = source / "data" / "items.parquet"
        whyrec("init", root, "--items", items, "--events", old, "--noun", "film", settings={})
    whyrec("index", "-w", root, settings={})
    if not (root / "models" / "fusion" / "current").is_file():
        whyrec("tune", "--trials", TRIALS, "-w", root, settings=ALONE)
    if not (root / "models" / "student" / "current").is_file():
        whyrec("label", "--lists", 0, "-w", root, settings=ALONE)
        whyrec("distill", "--trials", TRIALS, "-w", root, settings=ALONE)
    return new


def refreshed(root: Path, new: Path) -> list[dict[str, object]]:
    """The rows of `whyrec refresh`."""
    words = ["refresh", str(new), "--trials", str(TRIALS), "--seed", str(SEED), "--format", "json", "-w", str(root)]
    print("$ whyrec", *words, flush=True)
    call = [sys.executable, "-m", "agent.cli", *words]
    found = subprocess.run(call, check=True, env=os.environ | ALONE, stdout=subprocess.PIPE, text=True)
    rows: list[dict[str, object]] = json.loads(found.stdout)
    return [{name: value for name, value in row.items() if name != "version"} for row in rows]


def control(source: Path) -> dict[str, dict[str, float]]:
    """The indices where new events are drawn at random from the same ones."""
    opened = open_workspace(source)
    study = Study(opened.workspace, opened.settings, Models(opened.settings), Question(), SEED)
    ids = sorted(opened.workspace.catalog.ids)
    columns = opened.workspace.events().collect()["item_id"].replace_strict(ids, range(len(ids))).to_numpy()
    drawn = np.random.default_rng(SEED).random(len(columns)) >= SHARE
    clusters = find_clusters(study.vectors, SEED)
    found = {
        "popularity": popularity_drift(columns[~drawn], columns[drawn], len(ids)),
        "profile": profile_drift(columns[~drawn], columns[drawn], clusters),
    }
    return {name: {"psi": round(one.psi, 5), "by chance": round(one.chance, 5)} for name, one in found.items()}


def main() -> None:
    """Make the older workspace, refresh it, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=[name for name in DEMOS if "gemma" not in name], default="movielens-small")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces are kept")
    asked = parser.parse_args()
    source = workspace(asked.data, asked.work, None, {})
    root = asked.work / f"refresh-{asked.data}"
    new = old_workspace(source, root)
    rules = open_workspace(root).settings.refresh.model_dump()
    figures: dict[str, object] = {"artefacts": refreshed(root, new), "control": control(source)}
    write_report(f"refresh-{asked.data}", figures, share=SHARE, trials=TRIALS, seed=SEED, rules=rules)


if __name__ == "__main__":
    main()
