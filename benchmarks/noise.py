"""What is lost where events, times or titles are wrong: NDCG@10 as a share of what it is without, on MovieLens-small.

    python -m benchmarks.noise                                   all kinds, an hour
    python -m benchmarks.noise --only titles --only shift        some of them; what was measured before stays

False likes beside the true events of each user, a share of these (5 to 30 %), in what is learnt from and in the
histories that are scored. They are of items that the user has in no part, and the events that are asked after are true:

- ``random``: items drawn at random, of those that somebody has.
- ``popular``: items drawn by how many have them, as by false clicks on what is shown to everybody.
- ``opposed``: adversarial by events. The items that by EASE would take most from the scores of what the user likes
  (`benchmarks.noise_makers.opposed`). The part train alone decides.
- ``unlike``: adversarial by text. The items whose texts have the lowest mean cosine with those that the user likes in
  the part train.

Other faults:

- ``shuffled time``: the times of all events that are learnt from are permuted within each user. Student, EASE, iALS and
  text-EASE read no time, so they lose nothing by construction, and the zero is a check; ``pretrained``, the student
  after three epochs on the order of events (`finetune.pretraining`), is there because it reads it.
- ``titles``: each character of each title is changed with this probability (10 to 30 %), left out or replaced by a
  small letter, either as likely; years and genres stay. The texts are encoded and whitened anew. Scorers that read
  texts alone, also where text decides, on cold items. EASE and iALS read none.
- ``shift``: popularity has shifted. Of the events that are learnt from so many are gone (10 and 30 %), drawn one after
  the other with weights proportional to the number of events of their items, so popular items lose most.
  ``thinned``: so many are gone, each as likely, which is what having less costs. Histories that are scored are whole in
  both. Rows of the system ``events`` say which share of the events is of the hundred items that are the most popular
  where none is gone.

By time where nothing else is said. Parameters are those that validation chose without noise. The student is what it
begins with, before any teacher (`Student.fit`). Figures are means over three draws of the noise; nothing is drawn for
adversarial likes, and titles are changed once, as there are nine thousand of them.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

import retrieval
from agent.cli.console import Steps, say
from agent.cli.options import open_workspace
from agent.evaluation.draws import ndcg_of_draw, over_draws
from agent.evaluation.report import Row
from agent.evaluation.study import Question, Study
from agent.evaluation.tuning import tuned
from agent.models import Models
from agent.twin_tuning import student_config
from benchmarks import noise_makers as makers
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS, write_rows
from finetune.pretraining import Pretraining, pretrain
from retrieval.artefacts import file_fingerprint
from retrieval.cf.scorer import Scorer
from retrieval.cf.scorers import SCORERS
from retrieval.cf.student import Student, StudentConfig
from retrieval.metrics import Figures
from retrieval.significance import bootstrap_means, interval
from retrieval.text.index import ItemIndex
from retrieval.text.text_ease import RANK, TextEase

DATA, SEED, SEEDS, TRIALS = "movielens-small", 0, 3, 8
TEMPORAL, COLD = "temporal", "cold-items"
LEVELS, SHARES, POPULAR, ROUNDING = (0.05, 0.1, 0.2, 0.3), (0.1, 0.3), 100, 1e-6
STUDENT, PRETRAINED, EPOCHS = "student", "pretrained", 3
OTHERS = {TEMPORAL: ("ease", "ials", "text-ease"), COLD: ("text-ease", "soft-knn", "cosine")}
BY_TIME = {TEMPORAL: (STUDENT, *OTHERS[TEMPORAL])}
TEXTS = {TEMPORAL: (STUDENT, "text-ease"), COLD: (STUDENT, *OTHERS[COLD])}
Maker = Callable[[Study, float, int], Study]


@dataclass(frozen=True)
class Kind:
    """One way of being wrong.

    make: a study with it, of one without, a level and a seed. systems: those that are measured, by split. seeds: how
    often it is drawn. whole: histories that are scored stay as they are.
    """

    make: Maker
    levels: Sequence[float] = LEVELS
    systems: Mapping[str, Sequence[str]] = field(default_factory=lambda: BY_TIME)
    seeds: int = SEEDS
    whole: bool = False


def changed(study: Study, **changes: object) -> Study:
    """The same study with another split or other vectors."""
    of = Study(study.workspace, study.settings, study.models, study.question, study.seed)
    for name in ("split", "vectors", "spread", "facts"):
        setattr(of, name, changes[name] if name in changes else getattr(study, name))
    return of


def false_likes(pick: Callable[[Study], makers.Pick]) -> Maker:
    """False likes of the items that are picked."""

    def make(study: Study, level: float, seed: int) -> Study:
        liked = study.settings.events.liked_from
        return changed(study, split=makers.with_false_likes(study.split, level, seed, liked, pick(study)))

    return make


def opposed(study: Study) -> makers.Pick:
    return makers.opposed(study.split, study.settings.events.liked_from)


def unlike(study: Study) -> makers.Pick:
    items = sorted(study.workspace.catalog.ids)
    return makers.unlike(study.split, study.settings.events.liked_from, items, study.vectors)


def shuffled(study: Study, level: float, seed: int) -> Study:
    return changed(study, split=makers.with_shuffled_times(study.split, level, seed))


def thinned(popular: bool) -> Maker:
    return lambda study, level, seed: changed(study, split=makers.thinned(study.split, level, seed, popular=popular))


def mistyped(study: Study, level: float, seed: int) -> Study:
    """The titles changed, and the vectors of their texts as `whyrec index` would make them."""
    catalog = makers.with_typos(study.workspace.catalog, level, seed)
    encoder = study.models.remembering_encoder(study.workspace.root)
    with TemporaryDirectory() as folder:
        index = ItemIndex(Path(folder) / "index", study.models.encoder_fingerprint, create=True)
        index.update(catalog, index.changes(catalog), encoder)
        return changed(study, vectors=index.vectors(sorted(catalog.ids)), spread=index.spread)


KINDS = {
    "opposed": Kind(false_likes(opposed), seeds=1),
    "unlike": Kind(false_likes(unlike), seeds=1),
    "shuffled time": Kind(shuffled, (1.0,), {TEMPORAL: (*BY_TIME[TEMPORAL], PRETRAINED)}),
    "titles": Kind(mistyped, (0.1, 0.2, 0.3), TEXTS, seeds=1),
    "shift": Kind(thinned(popular=True), SHARES, whole=True),
    "thinned": Kind(thinned(popular=False), SHARES, whole=True),
    "random": Kind(false_likes(lambda study: makers.by_chance(study.split, popular=False))),
    "popular": Kind(false_likes(lambda study: makers.by_chance(study.split, popular=True))),
}


class Bench:
    """A split without noise, with the parameters that validation chose on it.

    What is measured is kept in ``folder``, so an interrupted run goes on where it was.
    """

    def __init__(self, clean: Study, folder: Path):
        self.clean = clean
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with Steps() as watch:
            self._code = file_fingerprint(sorted(Path(retrieval.__file__).parent.rglob("*.py")))
            twin = folder / f"student-{clean.fingerprint}-{TRIALS}-{self._code}.json"
            if not twin.is_file():
                twin.write_text(json.dumps(asdict(student_config(clean, TRIALS, watch))))
            self._twin = StudentConfig(**json.loads(twin.read_text()))
            watch.start("Tuning the others", len(OTHERS[clean.name]) * TRIALS)
            chosen = {name: tuned(clean, name, TRIALS, watch.advance).parameters for name in OTHERS[clean.name]}
        self._configs = {name: SCORERS[name].config_type.from_json(one) for name, one in chosen.items()}

    def measured(self, of: Study, names: Sequence[str], seed: int, *, whole: bool) -> pl.DataFrame:
        """NDCG@10 of each user, a column for each system; ``whole``: asked of histories without noise."""
        texts = hashlib.sha256(of.vectors.tobytes()).hexdigest()
        made_of = (of.split.fingerprint, texts, self._twin, self._configs, names, whole, self._code)
        made = (*made_of, seed, EPOCHS) if PRETRAINED in names else made_of
        path = self._folder / f"{hashlib.sha256(repr(made).encode()).hexdigest()[:16]}.parquet"
        if not path.is_file():
            task = (self.clean if whole else of).task("test")
            ndcg_of_draw(of, task, self._fitted(of, names, seed)).write_parquet(path)
        return pl.read_parquet(path)

    def _fitted(self, of: Study, names: Sequence[str], seed: int) -> dict[str, Scorer]:
        data = of.training_data("test")
        student = Student.fit(data, self._twin)
        systems: dict[str, Scorer] = {STUDENT: student}
        for name in names:
            if name == PRETRAINED:
                systems[name] = pretrain(student, of.sequences("test"), Pretraining(epochs=EPOCHS, seed=seed))
            elif name == TextEase.name:  # the student's first dimensions (`learnt_tables`): fitting it again is slow
                first = {"parts": student.parts[:, :RANK], "vectors": student.vectors[:, :RANK]}
                systems[name] = TextEase.from_arrays(self._configs[name], student.items, first)
            elif name != STUDENT:
                systems[name] = SCORERS[name].fit(data, self._configs[name])
        return systems

    def before(self, kind: Kind) -> pl.DataFrame:
        """The same without noise; only what is pre-trained draws anything, and is measured once for each seed."""
        names = kind.systems[self.clean.name]
        seeds = range(kind.seeds if PRETRAINED in names else 1)
        return over_draws([self.measured(self.clean, names, seed, whole=True) for seed in seeds]).sort("user")

    def rows(self, name: str, kind: Kind) -> list[Row]:
        """Of each system without it, and at each level what is reached and what is lost."""
        names = kind.systems[self.clean.name]
        before = self.before(kind)
        place = partial(row_of, self.clean.name)
        rows = [place(system, "clean", before[system].to_numpy()) for system in names]
        for level in kind.levels:
            runs = []
            for seed in range(kind.seeds):
                of = kind.make(self.clean, level, seed)
                runs.append(self.measured(of, names, seed, whole=kind.whole))
            after, stratum = over_draws(runs).sort("user"), f"{name} {level:.0%}"
            if not after["user"].equals(before["user"]):
                raise ValueError(f"{stratum}: other users than without it")
            for system in names:
                both = before[system].to_numpy(), after[system].to_numpy()
                rows += [place(system, stratum, both[1]), loss_of(self.clean.name, system, stratum, *both)]
                say(f"{self.clean.name} {stratum} {system} {both[0].mean():.4f} to {both[1].mean():.4f}")
        return rows

    def popularity(self, name: str, kind: Kind) -> list[Row]:
        """Which share of the events is of the items that are the most popular without noise."""
        learnt, users = self.clean.split.before("test"), len(self.clean.task("test").histories)
        items = makers.most_popular(learnt, POPULAR)
        found = {"clean": learnt, "test": self.clean.split.events.filter(pl.col("part") == "test")}
        for level in kind.levels:
            found[f"{name} {level:.0%}"] = kind.make(self.clean, level, 0).split.before("test")
        shares = {stratum: makers.share_of(events, items) for stratum, events in found.items()}
        place = (DATA, self.clean.name, "events")
        return [
            Row(*place, stratum, "share of the most popular", POPULAR, share, None, None, users, SEED)
            for stratum, share in shares.items()
        ]


def row_of(split: str, system: str, stratum: str, values: Figures) -> Row:
    """The mean over users with its interval."""
    low, high = interval(bootstrap_means(values[:, None], SEED)[:, 0])
    return Row(DATA, split, system, stratum, "ndcg", 10, float(values.mean()), low, high, len(values), SEED)


def loss_of(split: str, system: str, stratum: str, before: Figures, after: Figures) -> Row:
    """What is lost, as a share of what there was, with its interval."""
    means = bootstrap_means(np.stack([before, after], axis=1), SEED)
    low, high = interval(1 - means[:, 1] / means[:, 0])
    mean = float(1 - after.mean() / before.mean())
    return Row(DATA, split, system, stratum, "relative loss", 10, mean, low, high, len(before), SEED)


def together(earlier: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Rows of before, in their place those that were measured anew, and further ones.

    Of a system whose figure without noise is another now, nothing of before is kept: it was another system.
    """
    fresh = {key(row): row for row in rows}
    other = {
        (row.split, row.system)
        for row in earlier
        if row.stratum == "clean" and key(row) in fresh and abs(mean(row) - mean(fresh[key(row)])) > ROUNDING
    }
    kept = {key(row): row for row in earlier if (row.split, row.system) not in other}
    return list((kept | fresh).values())


def mean(row: Row) -> float:
    return float("nan") if row.mean is None else row.mean


def key(row: Row) -> tuple[str, str, str, str]:
    return row.split, row.system, row.stratum, row.metric


def main() -> None:
    """Measure each scorer with and without; the report is written after each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(KINDS), help="one of them; may be given again")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    asked = parser.parse_args()
    opened = open_workspace(workspace(DATA, asked.work, None, {}))
    models, name, folder, benches = Models(opened.settings), f"noise-{DATA}", asked.work / "noise", {}
    for kind in asked.only or KINDS:
        rows = []
        for split in KINDS[kind].systems:
            if split not in benches:
                benches[split] = Bench(Study(opened.workspace, opened.settings, models, Question(split), SEED), folder)
            rows += benches[split].rows(kind, KINDS[kind])
            if KINDS[kind].whole:
                rows += benches[split].popularity(kind, KINDS[kind])
        path = RESULTS / f"{name}.json"
        earlier = [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.is_file() else []
        write_rows(name, together(earlier, rows), seed=SEED, noise_seeds=SEEDS, trials=TRIALS)


if __name__ == "__main__":
    main()
