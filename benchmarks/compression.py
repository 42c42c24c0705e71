"""What smaller models cost: the language model in fewer bits and with fewer layers, the student's tables, the encoder.

    python -m benchmarks.compression --users 150

MovieLens-small, validation part of cold-items, seed 0; the test part is not touched. The packaged ranker orders 20
candidates of the text alone for people drawn at random; "ndcg" is of both scores together, the language model's by 0.4.
The ways take turns list by list; seconds are of the processor, one thread. What decides nothing (float32 where bfloat16
is the default; dropped layers where the packaged ranker is cut to those that are left) orders `--fewer` lists.
"healed" is with a ranker of its own for the layers that are left, tuned from scratch on lists of the training part.
"MiB resident" is what a process of its own holds more after it has loaded a language model and ordered one list. What
was scored is kept in --work, so an interrupted run goes on where it was. The 95 % intervals are of a bootstrap over
users, those of a loss a paired one.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import torch

from agent.cli.console import Steps, say
from agent.cli.options import ProfileChoice, open_workspace
from agent.compression import (
    LANGUAGE_MODEL,
    MEBIBYTE,
    Loaded,
    Point,
    Scored,
    Way,
    compare_language_models,
    default_precision,
    load,
    take_turns,
    ways,
)
from agent.compression_parts import encoder_points, student_points
from agent.evaluation.report import Row
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.ranker_tuning import Plan, RankerTuner
from agent.ranking_lists import Asked, RankingLists, Retrieval
from agent.settings import Settings
from agent.tuned_ranker import current_ranker
from agent.unfinished import UNFINISHED
from benchmarks.quality import workspace
from benchmarks.reporting import write_rows
from finetune.lora import LoraTuning
from retrieval.cf.live import TEXT_ALONE
from retrieval.cf.student import StudentConfig
from retrieval.contracts import RankRequest

NAME, DATA, SEED, CANDIDATES, LAYERS = "compression-movielens-small", "movielens-small", 0, 20, 20
HEALING = 500  # lists


def shuffled(asked: Asked, size: int) -> Asked:
    """The lists in an order by chance: those that were scored first are a sample."""
    order = np.random.default_rng(SEED).permutation(len(asked.rows)).tolist()[:size]
    return Asked(*([part[place] for place in order] for part in (asked.rows, asked.columns, asked.scores)))


def scored(path: Path, requests: list[RankRequest], loaded: dict[Way, Loaded], fewer: int) -> dict[str, Scored]:
    """Score what the file does not have yet, a line for each list and way."""
    names = {way.name: one for way, one in loaded.items()}
    most = {name: len(requests) if decides(way) else fewer for name, way in zip(names, loaded, strict=True)}
    found = {name: Scored() for name in names}
    for line in path.read_text().splitlines() if path.is_file() else []:
        one = json.loads(line)
        if len(found[one["way"]].scores) < most[one["way"]]:
            keep(found, one)
    with path.open("a") as file:
        for number, request in enumerate(requests):
            missing = {n: one for n, one in names.items() if number == len(found[n].scores) and number < most[n]}
            for name, scores, seconds in take_turns(missing, request, number) if missing else ():
                one = {"way": name, "scores": scores.tolist(), "seconds": seconds}
                keep(found, one)
                file.write(json.dumps(one) + "\n")
                file.flush()
    return found


def decides(way: Way) -> bool:
    """Whether it may serve, where bfloat16 is the default."""
    return way.precision in (default_precision(), "int8") and (way.layers is None or way.healed is not None)


def keep(found: dict[str, Scored], one: dict) -> None:
    found[one["way"]].scores.append(np.array(one["scores"], dtype=np.float32))
    found[one["way"]].seconds.append(one["seconds"])


def rows_of(points: list[Point], resident: dict[str, float]) -> list[Row]:
    rows = []
    for point in points:
        figures: dict[str, tuple[float | None, ...]] = {
            "ndcg": (point.ndcg,),
            "ndcg by the language model alone": (point.alone,),
            "share of ndcg lost": (point.lost, *point.between),
            "MiB of weights": (point.weights / MEBIBYTE,),
            "MiB on disk": (point.file / MEBIBYTE,),
            "MiB resident": (resident.get(point.name) if point.part == LANGUAGE_MODEL else None,),
            "seconds": (point.seconds,),
            "times as fast": (point.times,),
        }
        system = f"{point.part}: {point.name}" + (" (default)" if point.default else "")
        for metric, values in figures.items():
            mean, low, high = (*values, None, None)[:3]
            if mean is not None:
                k = 10 if "ndcg" in metric else 0
                rows.append(Row(DATA, "cold-items", system, "all", metric, k, mean, low, high, point.users, SEED))
    return rows


def resident_of(way: Way, settings: Settings, request: RankRequest) -> float:
    """MiB that a language model adds to this process."""
    import finetune.ranker  # noqa: F401 - what is imported is no part of the model

    process = psutil.Process()
    before = process.memory_info().rss
    loaded = load(way, settings, say)
    loaded.ranker.score([request])
    return (process.memory_info().rss - before) / MEBIBYTE


def measured_apart(way: Way, work: Path) -> float:
    call = [sys.executable, "-m", "benchmarks.compression", "--work", str(work), "--resident", way.precision]
    return float(subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def healed(source: RankingLists, settings: Settings, folder: Path) -> Path:
    """The folder of the ranker for the layers that are left, tuned where it is not there yet."""
    if current_ranker(folder) is None:
        models = Models(Way(default_precision(), LAYERS).settings(settings), say)
        with Steps() as watch:
            plan = Plan(HEALING, every=HEALING)  # one adapter, that of the end: validation chooses none
            tuner = RankerTuner([source], models, plan, LoraTuning(seed=SEED), folder, watch)
            tuner.run("python -m benchmarks.compression", resume=(folder / UNFINISHED).is_dir())
    return folder


def language_model_points(
    source: RankingLists, asked: Asked, settings: Settings, work: Path, fewer: int
) -> list[Point]:
    ranker = healed(source, settings, work / "healed-ranker")
    every = [*ways(LAYERS), *(Way(name, LAYERS, ranker) for name in dict.fromkeys((default_precision(), "int8")))]
    loaded = {way: load(way, settings, say) for way in every}
    found = scored(work / f"{NAME}.ndjson", source.everybody.requests(asked), loaded, fewer)
    return compare_language_models(source.everybody, asked, loaded, found)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--fewer", type=int, default=30)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where workspaces and scores are kept")
    parser.add_argument("--resident", help="print what a language model of this precision holds, and nothing else")
    given = parser.parse_args()
    torch.set_num_threads(1)
    opened = open_workspace(workspace(DATA, given.work, None, {}), ProfileChoice.default)
    ranking = opened.settings.ranking.model_copy(update={"candidates": CANDIDATES})
    settings = opened.settings.model_copy(update={"ranking": ranking})
    study = Study(opened.workspace, settings, Models(settings, say), Question("cold-items"), SEED)
    source = RankingLists(study, Retrieval(TEXT_ALONE))
    asked = shuffled(source.everybody.asked(0, 10_000), 1 if given.resident else given.users)
    if given.resident:
        print(resident_of(Way(given.resident), settings, source.everybody.requests(asked)[0]))
        return
    points = language_model_points(source, asked, settings, given.work, given.fewer)
    points += student_points(study, StudentConfig())
    points += encoder_points(study, settings, say, given.users)
    resident = {way.name: measured_apart(way, given.work) for way in ways(None)}
    settled = {"users": given.users, "fewer": given.fewer, "candidates": CANDIDATES, "healing": HEALING, "seed": SEED}
    write_rows(NAME, rows_of(points, resident), **settled)


if __name__ == "__main__":
    main()
