"""What smaller models cost: the language model in fewer bits and with fewer layers, the student's tables, the encoder.

    python -m benchmarks.compression --users 150

MovieLens-small, validation part of cold-items, seed 0; the test part is not touched. The packaged ranker orders 20
candidates of the text alone for people drawn at random. The ways take turns list by list; times are of the processor,
one thread. What was scored is kept in --work, so an interrupted run goes on where it was. The 95 % intervals are of a
bootstrap over users, those of a loss a paired one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from agent.cli.console import say
from agent.cli.options import open_workspace
from agent.compression import (
    Loaded,
    Scored,
    Way,
    compare_language_models,
    default_precision,
    load,
    take_turns,
    ways,
)
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.ranking_lists import TEXT_ALONE, Asked, RankingLists, Retrieval
from benchmarks.quality import workspace

NAME, SEED, CANDIDATES, LAYERS, FEWER = "compression-movielens-small", 0, 20, 20, 30


def shuffled(asked: Asked) -> Asked:
    """The lists in an order by chance: those that were scored first are a sample."""
    order = np.random.default_rng(SEED).permutation(len(asked.rows)).tolist()
    return Asked(*([part[place] for place in order] for part in (asked.rows, asked.columns, asked.scores)))


def first(asked: Asked, size: int) -> Asked:
    return Asked(asked.rows[:size], asked.columns[:size], asked.scores[:size])


def scored(path: Path, asked: Asked, source: RankingLists, loaded: dict[Way, Loaded]) -> dict[str, Scored]:
    """Score what the file does not have yet, a line for each list and way."""
    names = {way.name: one for way, one in loaded.items()}
    found = {name: Scored() for name in names}
    for line in path.read_text().splitlines() if path.is_file() else []:
        keep(found, json.loads(line))
    with path.open("a") as file:
        for number, request in enumerate(source.requests(asked)):
            missing = {n: one for n, one in names.items() if number == len(found[n].scores) and number < lists_of(n)}
            for name, scores, seconds in take_turns(missing, request, number) if missing else ():
                one = {"way": name, "scores": scores.tolist(), "seconds": seconds}
                keep(found, one)
                file.write(json.dumps(one) + "\n")
                file.flush()
    return found


def keep(found: dict[str, Scored], one: dict) -> None:
    found[one["way"]].scores.append(np.array(one["scores"], dtype=np.float32))
    found[one["way"]].seconds.append(one["seconds"])


def lists_of(name: str) -> int:
    """How many lists a way orders at most: what decides nothing orders fewer."""
    return 10_000 if name in (default_precision(), "int8") else FEWER


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces and scores are kept")
    asked_for = parser.parse_args()
    torch.set_num_threads(1)
    opened = open_workspace(workspace("movielens-small", asked_for.work, None, {}))
    ranking = opened.settings.ranking.model_copy(update={"candidates": CANDIDATES})
    settings = opened.settings.model_copy(update={"ranking": ranking})
    study = Study(opened.workspace, settings, Models(settings, say), Question("cold-items"), SEED)
    source = RankingLists(study, Retrieval(TEXT_ALONE))
    asked = first(shuffled(source.asked(0, 10_000)), asked_for.users)
    loaded = {way: load(way, settings, say) for way in ways(LAYERS)}
    found = scored(asked_for.work / f"{NAME}.ndjson", asked, source, loaded)
    points = compare_language_models(source, asked, loaded, found)
    for point in points:
        print(point)


if __name__ == "__main__":
    main()
