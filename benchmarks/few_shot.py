"""Like or dislike, learnt from 16, 64 and 256 examples of MovieLens-100K: the AUC, as TALLRec reports it.

    python -m benchmarks.few_shot --start FOLDER          the ranker to begin with, which has seen no films
    python -m benchmarks.few_shot --start FOLDER --part validation     what constants are chosen on

TALLRec: Bao et al. 2023, section 3.1. An example is an event, with the ten of the same person before it as what is
known; four stars or more are a like. Examples in order of time: the first 80 % to learn from, then 10 % validation,
then 10 % test. For each seed other examples are drawn to learn from, and other 500 to be asked about.

An example teaches what its eleven events have to teach: each list holds some of them out, the event itself among them,
and the rest is known. What is known without a language model, the share of likes among the ten, is the prior. There
is no other information, neither of other people nor of other events.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from agent.tuned_ranker import current_ranker
from benchmarks.packed_scoring import load
from benchmarks.quality import workspace
from benchmarks.reporting import spread, write_report
from finetune.adapters import load_adapter
from finetune.language_model import LanguageModel
from finetune.lora import LoraTuning
from finetune.ranker import RANK, LMRanker
from finetune.ranker_training import RankerTrainer, TrainingList
from retrieval.contracts import RankRequest
from retrieval.data.workspace import Workspace
from retrieval.ranking import Floats

KNOWN, LIKED_FROM = 10, 4.0
SEEDS, ASKED = 5, 500
STEPS = {16: 16, 64: 32, 256: 64}
HELD_OUT = 5  # of an example's eleven events
TUNING = LoraTuning(rate=3e-4, lists=8)
SMOOTHING = 2.0


@dataclass(frozen=True)
class Example:
    """Eleven events of a person in order of time: their items' texts, and whether each was liked."""

    texts: tuple[str, ...]
    liked: tuple[bool, ...]


def examples(workspace: Workspace) -> list[Example]:
    """All there are, in order of the time of the last event."""
    catalog = workspace.catalog
    events = workspace.events().collect().sort("timestamp", "user_id", "item_id")
    found = []
    for (_,), person in events.with_row_index("order").group_by(["user_id"], maintain_order=True):
        texts = [catalog.text(item_id) for item_id in person["item_id"]]
        liked = (person["value"] >= LIKED_FROM).to_list()
        for last in range(KNOWN, person.height):
            part = slice(last - KNOWN, last + 1)
            found.append((person["order"][last], Example(tuple(texts[part]), tuple(liked[part]))))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def prior(liked: list[bool], base: float) -> float:
    """The log-odds of a like by the share of likes among what is known, drawn a little towards everybody's."""
    share = (sum(liked) + SMOOTHING * base) / (len(liked) + SMOOTHING)
    return float(np.log(share / (1 - share)))


def asked(example: Example, held_out: list[int], base: float) -> TrainingList:
    """A list of the events that are held out, the liked ones first; the others are known."""
    known = [place for place in range(len(example.texts)) if place not in held_out]
    order = sorted(held_out, key=lambda place: not example.liked[place])
    history = tuple(example.texts[place] for place in known if example.liked[place])
    texts = tuple(example.texts[place] for place in order)
    request = RankRequest(history, tuple(f"{place:02}" for place in order), texts)
    log_odds = prior([example.liked[place] for place in known], base)
    return TrainingList(request, (log_odds,) * len(order), sum(example.liked[place] for place in order))


def tune(lm: LanguageModel, learnt: list[Example], seed: int, start: Path | None, base: float) -> None:
    """Leave the adapter in the model."""
    tuning = LoraTuning(**{**TUNING.__dict__, "seed": seed})

    def draw(number: int) -> TrainingList:
        rng = np.random.default_rng([seed, number])
        one = learnt[number % len(learnt)]
        others = rng.choice(KNOWN, HELD_OUT - 1, replace=False).tolist()
        return asked(one, [KNOWN, *others], base)

    trainer = RankerTrainer(lm, draw, STEPS[len(learnt)], tuning, start)
    trainer.run(trainer.steps)


def scored(lm: LanguageModel, adapter: str | None, lists: list[TrainingList]) -> dict[str, Floats]:
    """The log-odds of a like for each list of one: by the language model alone, and with the prior."""
    alone = np.concatenate(LMRanker(lm, adapter).score([one.request for one in lists]))
    return {"": alone, ", and share": alone + np.array([one.prior[0] for one in lists])}


def means(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each system over the seeds: the mean, and how far they are apart."""
    return {name: {**spread(values), "mean": round(float(np.mean(values)), 4)} for name, values in found.items()}


def main() -> None:
    """Learn and ask; the report is written after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, help="folder of a ranker to begin with; from scratch without it")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    given = parser.parse_args()
    every = examples(Workspace(workspace("movielens-100k", given.work, None, {})))
    ends = [round(len(every) * share) for share in (0.8, 0.9, 1)]
    learnable, held_out = every[: ends[0]], every[ends[0] : ends[1]] if given.part == "validation" else every[ends[1] :]
    ranker = current_ranker(given.start) if given.start else None
    if ranker and any("movielens" in one.data for one in ranker.learnt_from):
        parser.error(f"the ranker in {given.start} has seen films")
    start = ranker.folder if ranker else None
    found: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        rng = np.random.default_rng(seed)
        learnt = [learnable[place] for place in rng.choice(len(learnable), max(STEPS), replace=False)]
        questions = [held_out[place] for place in rng.choice(len(held_out), ASKED, replace=False)]
        truth = [one.liked[KNOWN] for one in questions]

        def note(name: str, scores: dict[str, Floats], truth: list[bool] = truth) -> None:
            for how, one in scores.items():
                found.setdefault(name + how, []).append(float(roc_auc_score(truth, one)))
                print(name + how, found[name + how][-1], flush=True)

        lists = [asked(one, [KNOWN], 0.5) for one in questions]
        note("share of likes", {"": np.array([one.prior[0] for one in lists])})
        lm = load("auto")
        note("language model, untuned", scored(lm, None, lists))
        if start:
            load_adapter(lm, RANK, start)
            note("ranker to begin with", scored(lm, RANK, lists))
        for size in STEPS:
            few = learnt[:size]
            base = float(np.mean([liked for one in few for liked in one.liked]))
            lm = load("auto")
            tune(lm, few, seed, start, base)
            lists = [asked(one, [KNOWN], base) for one in questions]
            note(f"tuned on {size}", scored(lm, RANK, lists))
        if given.part == "test":
            liked = {"liked": round(float(np.mean([one.liked[KNOWN] for one in held_out])), 4)}
            write_report(
                "few-shot-like-dislike",
                {"auc": means(found), **liked, "held_out": len(held_out)},
                steps=STEPS,
                tuning=TUNING.__dict__,
                seeds=seed + 1,
                asked=ASKED,
                started_from=ranker.made["command"] if ranker else None,
            )
    print(means(found))


if __name__ == "__main__":
    main()
