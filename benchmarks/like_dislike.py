"""Like or dislike in a domain of which nothing but texts was learnt: `like-dislike-transfer.json`.

    python -m benchmarks.like_dislike --games FOLDER --ranker FOLDER

MovieLens-small, from Amazon Games; the other way round there is nothing to be told, since Games has no dislikes. An
example is an event, with the ten of the same person before it as what is known; four stars or more are a like.
--ranker: one that has seen Games alone (`python -m benchmarks.pretrained --games FOLDER --data amazon-games ...`).

base rate: everything is a like. share: of likes among the ten. traditional: and how close the item's text is to those
that were liked and to those that were not, by the student with constants from Games. language model: the share, and the
ranker's log-odds, told of those that were liked. both: all of these. Each is a logistic regression on some events of
the first 80 % by time, asked about others of the last 10 %; a like is said from one half. Intervals are over people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.transfer import Size, carried
from agent.tuned_ranker import current_ranker
from agent.twin_tuning import untaught_config
from benchmarks.comparing import parser
from benchmarks.few_shot import KNOWN, LIKED_FROM, prior
from benchmarks.packed_scoring import load
from benchmarks.quality import GAMES, workspace
from benchmarks.reporting import write_report
from benchmarks.transfer import Side
from finetune.adapters import load_adapter
from finetune.ranker import RANK, LMRanker
from retrieval.cf.student import Student
from retrieval.contracts import RankRequest
from retrieval.data.workspace import Workspace
from retrieval.ranking import Floats

DATA, RESAMPLES, HALF = "movielens-small", 2_000, 0.5
FEATURES = {
    "share": ("share",),
    "traditional": ("share", "liked", "disliked"),
    "language model": ("share", "said"),
    "both": ("share", "liked", "disliked", "said"),
}


@dataclass(frozen=True)
class Example:
    """Eleven events of a person in order of time."""

    user: str
    items: tuple[str, ...]
    liked: tuple[bool, ...]


def examples(workspace: Workspace) -> list[Example]:
    """All there are, in order of the time of the last event."""
    events = workspace.events().collect().sort("timestamp", "user_id", "item_id").with_row_index("order")
    found = []
    for (user,), person in events.group_by(["user_id"], maintain_order=True):
        items, liked = person["item_id"].to_list(), (person["value"] >= LIKED_FROM).to_list()
        for last in range(KNOWN, person.height):
            part = slice(last - KNOWN, last + 1)
            found.append((person["order"][last], Example(str(user), tuple(items[part]), tuple(liked[part]))))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def features(asked: Sequence[Example], student: Student, items: Mapping[str, int], base: float) -> dict[str, Floats]:
    """What is known of each without a language model."""
    found: dict[str, list[float]] = {"share": [], "liked": [], "disliked": []}
    for one in asked:
        rows, known = [items[item] for item in one.items], np.array(one.liked[:KNOWN])
        close = student.parts[rows[:KNOWN]] @ student.vectors[rows[KNOWN]]
        found["share"].append(prior(known.tolist(), base))
        found["liked"].append(float(close[known].mean()) if known.any() else 0.0)
        found["disliked"].append(float(close[~known].mean()) if not known.all() else 0.0)
    return {name: np.array(values) for name, values in found.items()}


def figures(truth: Floats, chances: Floats) -> dict[str, float]:
    """Of likes, said from one half."""
    said, likes = chances >= HALF, int(truth.sum())
    right, others = int((said & truth).sum()), len(truth) - likes
    above = rankdata(chances)[truth].sum() - likes * (likes + 1) / 2  # pairs in the right order, ties by half
    return {
        "accuracy": float((said == truth).mean()),
        "recall": right / likes,
        "f1": 2 * right / (likes + int(said.sum())),
        "auc": float(above / (likes * others)),
    }


def with_intervals(users: Sequence[str], truth: Floats, chances: Mapping[str, Floats]) -> dict[str, object]:
    """Each figure of each system, and what it gains over the traditional one, over people drawn again."""
    names, of = np.unique(np.array(users), return_inverse=True)
    members = [np.flatnonzero(of == place) for place in range(len(names))]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows = np.concatenate([members[place] for place in rng.integers(0, len(names), len(names))])
        if 0 < truth[rows].mean() < 1:
            drawn.append({name: figures(truth[rows], one[rows]) for name, one in chances.items()})
    found: dict[str, object] = {}
    for name, one in chances.items():
        point, before = figures(truth, one), figures(truth, chances["traditional"])
        found[name] = {
            metric: {
                "mean": round(value, 4),
                "interval": np.quantile([d[name][metric] for d in drawn], [0.025, 0.975]).round(4).tolist(),
                "over traditional": round(value - before[metric], 4),
                "over traditional, interval": np.quantile(
                    [d[name][metric] - d["traditional"][metric] for d in drawn], [0.025, 0.975]
                )
                .round(4)
                .tolist(),
            }
            for metric, value in point.items()
        }
    return found


def main() -> None:
    """Learn on some, ask about others."""
    options = parser(__doc__)
    options.add_argument("--ranker", type=Path, required=True, help="folder of a ranker that has seen Games alone")
    options.add_argument("--learnt", type=int, default=150, help="events that weights are learnt from")
    options.add_argument("--asked", type=int, default=300, help="events that are asked about")
    asked = options.parse_args()
    ranker = current_ranker(asked.ranker)
    if ranker is None or any(GAMES not in one.data for one in ranker.learnt_from):
        options.error(f"{asked.ranker} has no ranker of {GAMES} alone")
    source, target = (Side(open_workspace(workspace(d, asked.work, asked.games, {})), d) for d in (GAMES, DATA))
    study = target.study(0)
    every = examples(study.workspace)
    ends = [round(len(every) * share) for share in (0.8, 0.9)]
    rng = np.random.default_rng(0)
    parts = {
        "learnt": [every[place] for place in rng.choice(ends[0], asked.learnt, replace=False)],
        "asked": [every[place] for place in ends[1] + rng.choice(len(every) - ends[1], asked.asked, replace=False)],
    }
    with Steps() as watch:
        there = carried(untaught_config(source.study(0), watch), study, Size(0, 0))
    data = study.training_data("test")
    nobody = replace(data, histories=data.histories.take(np.zeros(0, dtype=np.int64)))
    student, catalog = Student.fit(nobody, there), study.workspace.catalog
    items = {item: column for column, item in enumerate(data.histories.items)}
    base = float(np.mean([liked for one in parts["learnt"] for liked in one.liked]))
    lm = load("auto")
    load_adapter(lm, RANK, ranker.folder)
    judge, known = LMRanker(lm, RANK), {}
    for part, chosen in parts.items():
        known[part] = features(chosen, student, items, base)
        said = []
        for place, one in enumerate(chosen):
            texts = tuple(
                catalog.text(item) for item, liked in zip(one.items[:KNOWN], one.liked, strict=False) if liked
            )
            request = RankRequest(texts, (one.items[KNOWN],), (catalog.text(one.items[KNOWN]),))
            said.append(float(judge.score([request])[0][0]))
            if place % 50 == 0:
                say(f"{part} {place}")
        known[part]["said"] = np.array(said)
    truth = {part: np.array([one.liked[KNOWN] for one in chosen]) for part, chosen in parts.items()}
    chances = {"base rate": np.ones(asked.asked)}
    for name, wanted in FEATURES.items():
        model = make_pipeline(StandardScaler(), LogisticRegression())
        tables = {part: np.stack([known[part][one] for one in wanted], axis=1) for part in parts}
        chances[name] = model.fit(tables["learnt"], truth["learnt"]).predict_proba(tables["asked"])[:, 1]
    alone = figures(truth["asked"], known["asked"]["said"])["auc"]
    write_report(
        "like-dislike-transfer",
        {
            "systems": with_intervals([one.user for one in parts["asked"]], truth["asked"], chances),
            "auc of the ranker's log-odds alone": round(alone, 4),
            "likes among what is asked": round(float(truth["asked"].mean()), 4),
            "people asked about": pl.Series([one.user for one in parts["asked"]]).n_unique(),
        },
        learnt=asked.learnt,
        asked=asked.asked,
        ranker=ranker.made["command"],
        flat=there.flat,
    )


if __name__ == "__main__":
    main()
