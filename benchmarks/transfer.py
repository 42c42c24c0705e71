"""What a student gains from another domain: the committed reports `transfer-<from>-<to>.json`.

    python -m benchmarks.transfer --source amazon-games --data movielens-small --games FOLDER
    python -m benchmarks.transfer --source movielens-small --data amazon-games --games FOLDER --users 2000

Cold items of the target. Strata: zero-shot, where nothing has learnt from any event of the target; 1, 5 and 10 % of its
users are known; full. The people who are asked, and what they had before, are the same in all strata. All students are
untaught. Their texts come of an encoder that has seen neither domain's events.

student-transferred: constants from the source's validation, for a workspace of the target's size. student-scratch:
constants from the target's own validation, by the same search. student-served: the one of both that the gate of `whyrec
transfer` lets serve. student-events: as scratch, without what the encoder knows of texts being close (near = 0).
student-before: with near from the target's own validation and flat = 0, as whyrec had it before it could transfer.
Default constants elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.evaluation.draws import ndcg_of_draw, over_draws
from agent.evaluation.output import as_text, machine, versions
from agent.evaluation.report import Row
from agent.evaluation.study import Question, Study
from agent.evaluation.watch import Watch
from agent.models import Models
from agent.student_proof import FEWEST
from agent.transfer import SPLIT, Size, carried, constants_for
from agent.twin_tuning import FLAT, NEAR, Closeness, most_cautious
from benchmarks.comparing import parser
from benchmarks.quality import GAMES, workspace
from benchmarks.reporting import RESULTS
from retrieval.cf.popularity import Popularity, PopularityConfig
from retrieval.cf.scorer import Scorer, TrainingData
from retrieval.cf.student import Student, StudentConfig
from retrieval.cf.twin import closeness, learnt_tables, with_closeness
from retrieval.metrics import Figures
from retrieval.significance import bootstrap_means, compare, holm, interval
from retrieval.text.scorers import Cosine, CosineConfig

SHARES = {"zero-shot": 0.0, "1%": 0.01, "5%": 0.05, "10%": 0.1, "full": 1.0}
TRANSFERRED = "student-transferred"
DRAWS = 4  # of items to choose constants on, at most


@dataclass(frozen=True)
class Side:
    """One of both domains."""

    opened: object
    data: str

    def study(self, seed: int, share: float = 1.0, users: int | None = None) -> Study:
        """Its cold items."""
        opened = self.opened
        models = Models(opened.settings, say)  # type: ignore[attr-defined]
        question = Question(SPLIT, users=users, share=share)
        return Study(opened.workspace, opened.settings, models, question, seed)  # type: ignore[attr-defined]


def references(study: Study, data: TrainingData) -> dict[str, Scorer]:
    """What a student is compared with."""
    liked = study.settings.events.liked_from if study.value_matters else None
    return {
        "popularity": Popularity.fit(data, PopularityConfig(liked)),
        "cosine": Cosine.fit(data, CosineConfig(liked)),
    }


def students(
    study: Study, there: StudentConfig, data: TrainingData, draws: int, watch: Watch
) -> tuple[dict[str, Scorer], dict[str, object]]:
    """The students of one young target, and what is to be said of their constants."""
    chosen = Closeness.judged(study.validations[:draws], there, watch)
    own = chosen.best
    low = compare(chosen.of(there.flat, there.near), [chosen.of(own.flat, own.near)], study.seed)[0].low
    opens = low > 0 and len(chosen.figures) >= FEWEST
    configs = {
        TRANSFERRED: there,
        "student-scratch": own,
        "student-served": there if opens else own,
        "student-events": replace(own, near=0.0),
        "student-before": replace(own, flat=0.0, near=NEAR[most_cautious(chosen.figures[:, FLAT.index(0.0)])]),
    }
    learnt = learnt_tables(data, there)  # what is learnt from events has default constants in all of them
    close = {config.flat: closeness(data.text(Student.name), config.flat) for config in configs.values()}
    made: dict[str, Scorer] = {
        name: Student.of_tables(config, *with_closeness(learnt, close[config.flat], config.near))
        for name, config in configs.items()
    }
    said = {name: {"near": config.near, "flat": config.flat} for name, config in configs.items()}
    return made, {**said, "judges": len(chosen.figures), "low": low}


def measured(study: Study, systems: Mapping[str, Scorer]) -> pl.DataFrame:
    """NDCG@10 of each person in the test."""
    found = ndcg_of_draw(study, study.task("test"), systems)
    say(" ".join(f"{name} {found[name].fill_nan(None).mean():.4f}" for name in systems))
    return found


def rows_of(data: str, stratum: str, found: pl.DataFrame, seed: int | None) -> list[Row]:
    """The mean of each system with its interval."""
    rows = []
    for name in found.columns[1:]:
        values = found[name].to_numpy()
        low, high = interval(bootstrap_means(values[:, None], 0)[:, 0])
        rows.append(Row(data, SPLIT, name, stratum, "ndcg", 10, float(values.mean()), low, high, len(values), seed))
    return rows


def against(stratum: str, found: pl.DataFrame) -> list[dict[str, object]]:
    """What the transferred student gains over each other system, and as a share of it."""
    ours, names = found[TRANSFERRED].to_numpy(), [n for n in found.columns[1:] if n != TRANSFERRED]
    differences = compare(ours, [found[name].to_numpy() for name in names], 0)
    corrected = holm([one.p for one in differences])
    rows = []
    for name, one, p in zip(names, differences, corrected, strict=True):
        share, low, high = relative(ours, found[name].to_numpy())
        place = {"system": TRANSFERRED, "reference": name, "stratum": stratum, "metric": "ndcg", "k": 10}
        gain = {"relative": share, "relative_low": low, "relative_high": high}
        rows.append({**place, **asdict(one), "p_holm": p, **gain})
    return rows


def relative(ours: Figures, other: Figures) -> tuple[float, float, float]:
    """The gain as a share of the other's mean, with its interval."""
    means = bootstrap_means(np.stack([ours, other], axis=1), 0)
    low, high = interval(means[:, 0] / np.maximum(means[:, 1], 1e-9) - 1)
    return float(ours.mean() / max(other.mean(), 1e-9) - 1), low, high


class Report:
    """A report by strata: what was measured of others stays."""

    def __init__(self, name: str):
        """``name``: of the file, which may be there already."""
        self._path = RESULTS / f"{name}.json"
        self._found: dict[str, Any] = {"meta": {"strata": {}}, "rows": [], "comparisons": []}
        if self._path.is_file():
            self._found = json.loads(self._path.read_text(encoding="utf-8"))

    def put(self, stratum: str, rows: Sequence[Row], found: pl.DataFrame, command: str, **more: object) -> None:
        """Write what all seeds say of a stratum. ``more``: beside the command that made it."""
        for kind, new in (("rows", [asdict(row) for row in rows]), ("comparisons", against(stratum, found))):
            self._found[kind] = [one for one in self._found[kind] if one["stratum"] != stratum] + new
        made = {"command": command, **more, "versions": versions(), "machine": machine()}
        self._found["meta"]["strata"][stratum] = made
        self._path.write_text(as_text(self._found), encoding="utf-8")


def main() -> None:
    """Measure each stratum with each seed; the report is written after each stratum."""
    options = parser(__doc__)
    options.add_argument("--source", required=True, help="the data set that constants come from")
    options.add_argument("--users", type=int, help="at most so many in the test; all without it")
    options.add_argument("--strata", default=",".join(SHARES), help="which of them, separated by commas")
    options.add_argument("--once", default="full", help="strata that the first seed alone measures")
    options.add_argument("--draws", type=int, default=DRAWS, help="of items to choose constants on")
    options.set_defaults(seeds=3)
    asked = options.parse_args()
    sides = [Side(open_workspace(workspace(d, asked.work, asked.games, {})), d) for d in (asked.source, asked.data)]
    source, target = sides[0].study(0), sides[1]
    told = ("source", "data", "seeds", "users", "strata", "once", "draws")
    given = {name: getattr(asked, name) for name in told if getattr(asked, name)}
    given |= {"games": "FOLDER"} if GAMES in (asked.source, asked.data) else {}
    command = " ".join(["python -m benchmarks.transfer", *(f"--{key} {value}" for key, value in given.items())])
    report = Report(f"transfer-{asked.source}-{asked.data}")
    for stratum in asked.strata.split(","):
        share, frames, rows, constants = SHARES[stratum], [], [], {}
        size = Size.of(target.study(0, share)) if share else Size(0, 0)
        with Steps() as watch:

            def choose(study: Study, size: Size = size, watch: Watch = watch) -> StudentConfig:
                begun = carried(StudentConfig(), study, size)
                return Closeness.judged(study.validations[: asked.draws], begun, watch).best

            chosen = constants_for(source, size, choose, watch)
        constants["from there"] = {**size._asdict(), "near": chosen.near if share else None, "flat": chosen.flat}
        for seed in range(1 if stratum in asked.once.split(",") else asked.seeds):
            study = target.study(seed, share or 1.0, asked.users)
            there, data = carried(chosen, study, size), study.training_data("test")
            if share:
                with Steps() as watch:
                    systems, constants[f"seed {seed}"] = students(study, there, data, asked.draws, watch)
            else:
                data = replace(data, histories=data.histories.take(np.zeros(0, dtype=np.int64)))
                systems = {TRANSFERRED: Student.fit(data, there)}
            frames.append(measured(study, references(study, data) | systems))
            rows += rows_of(asked.data, stratum, over_draws(frames[-1:]), seed)
        every = over_draws(frames)
        report.put(stratum, rows + rows_of(asked.data, stratum, every, None), every, command, constants=constants)


if __name__ == "__main__":
    main()
