"""`whyrec transfer`: a student whose constants were chosen in another workspace, which knows more people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl

from agent.evaluation.draws import ndcg_of_draw, over_draws
from agent.evaluation.output import versions
from agent.evaluation.study import Study
from agent.evaluation.watch import Watch
from agent.stored_student import STUDENT, save_student
from agent.student_proof import FEWEST
from agent.twin_tuning import NEAR, student_config, untaught_config
from retrieval.cf.scorer import TrainingData
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.histories import Histories
from retrieval.data.splits import PARTS, Split
from retrieval.errors import InputError, SplitError
from retrieval.metrics import Figures
from retrieval.ranking import Floats
from retrieval.significance import compare
from retrieval.text.facts import Facts

SPLIT = "cold-items"  # what a student carries over is how to read texts


class Size(NamedTuple):
    """What a study learns from when validation begins, in the mean of its draws."""

    people: int
    events: int

    @classmethod
    def of(cls, study: Study) -> Self:
        """Zeros where nobody is left to validate on."""
        try:
            known = [part.task("validation").train for part in study.validations]
        except SplitError:
            return cls(0, 0)
        return cls(round(np.mean([len(one) for one in known])), round(np.mean([one.values.nnz for one in known])))


class _Few(Study):
    """A study in which all but a few people have not been learnt from when validation begins, and are asked all the
    same: so much can be told of a young workspace only where there is an older one.
    """

    def __init__(self, study: Study, split: Split, most: Size):
        super().__init__(study.workspace, study.settings, study.models, study.question, study.seed)
        self._study, self._whole, self._most = study, split, most
        self.label = f"{study.label}-{most.people}-people-{most.events}-events"

    @cached_property
    def split(self) -> Split:
        return learnt_from_few(self._whole, self._most)

    @cached_property
    def validations(self) -> list[Study]:
        others = [_Few(self._study, split, self._most) for split in self._whole.validations()[1:]]
        return [self, *(one for one in others if one.asks)]

    @cached_property
    def vectors(self) -> Floats:
        return self._study.vectors

    @cached_property
    def facts(self) -> Facts:
        return self._study.facts


def learnt_from_few(split: Split, most: Size) -> Split:
    """The same validation, before which so many people were learnt from, drawn at random; fewer, where they have enough
    events. What all others had is known when validation begins, and nothing has learnt from it.
    """
    counts = split.events.filter(pl.col("part") == "train").group_by("user_id").len().sort("user_id")
    order = np.random.default_rng(split.seed).permutation(len(counts))
    before = np.concatenate([[0], np.cumsum(counts["len"].to_numpy()[order])])[:-1]
    seen = counts["user_id"].gather(order[(before < most.events) & (np.arange(len(order)) < most.people)])
    unseen = (pl.col("part") == "train") & ~pl.col("user_id").is_in(seen.implode())
    part = pl.when(unseen).then(pl.lit("validation-history")).otherwise(pl.col("part"))
    return Split(split.name, split.seed, split.events.with_columns(part.cast(pl.Enum(PARTS)).alias("part")))


def few(study: Study, most: Size) -> Study:
    """The study as it would be if at most so many had been learnt from."""
    return _Few(study, study.split, most)


def constants_for(source: Study, size: Size, choose: Callable[[Study], StudentConfig], watch: Watch) -> StudentConfig:
    """What is best in the source for a workspace of this size, ``choose`` being how it is chosen in one study.

    People of different domains have events in different numbers. So it is chosen where as many events are known, and
    where as many people are; near is the middle of both on its scale, the rest is that of as many events.

    Raises:
        SplitError: the source has nobody to validate on.
    """
    if size.events == 0:
        return untaught_config(source, watch)
    whole = Size.of(source)
    by_events = choose(few(source, Size(whole.people, size.events)))
    by_people = choose(few(source, Size(size.people, whole.events)))
    places = NEAR.index(by_events.near) + NEAR.index(by_people.near)
    return replace(by_events, near=NEAR[(places + 1) // 2])


def carried(constants: StudentConfig, study: Study, size: Size) -> StudentConfig:
    """The constants as another workspace of this size reads them: what counts as positive is its own."""
    tells = size.events == 0 or study.value_matters
    return replace(constants, positive_from=study.settings.events.liked_from if tells else None)


@dataclass(frozen=True)
class Transferred:
    """What became of it. constants: that serve. size: of the target when they are judged.

    own, there: NDCG@10 on the target's validation with constants of its own, and with those from there; low: the lower
    end of the 95 % interval of the gain; all None where the target has too few events to judge. users: who judged.
    """

    version: str
    constants: StudentConfig
    size: Size
    own: float | None
    there: float | None
    low: float | None
    users: int

    @property
    def serves(self) -> bool:
        """Whether the constants from elsewhere serve: where they are proven, or where nothing else could be chosen."""
        return self.low is None or (self.low > 0 and self.users >= FEWEST)


class Transfer:
    """Carries a student's constants from one workspace to another."""

    def __init__(self, source: Study, target: Study, trials: int, watch: Watch):
        """Both studies are of cold items.

        Raises:
            InputError: the workspaces are the same or read texts with different encoders.
        """
        if source.workspace.root.resolve() == target.workspace.root.resolve():
            raise InputError("--from and --to name the same workspace; nothing can be carried over")
        encoders = source.models.encoder_fingerprint, target.models.encoder_fingerprint
        if encoders[0] != encoders[1]:
            raise InputError(
                f"the workspaces read texts with different encoders ({encoders[0]} and {encoders[1]}); set [encoder] "
                "and [features] alike in both whyrec.toml, then: whyrec index --rebuild"
            )
        self._source = source
        self._target = target
        self._trials = trials
        self._watch = watch

    def run(self, command: str) -> Transferred:
        """Choose in the source, judge in the target, and keep the student that serves as the target's current one.

        Raises:
            SplitError: the source has nobody to validate on.
        """
        target, size = self._target, Size.of(self._target)

        def choose(study: Study) -> StudentConfig:
            return student_config(study, self._trials, self._watch)

        there = carried(constants_for(self._source, size, choose, self._watch), target, size)
        own, figures = there, None
        if size.events:
            own = choose(target)
            figures = judged(target, {"own": own, "there": there})
        low = compare(figures["there"], [figures["own"]], target.seed)[0].low if figures else None
        means = {name: None if figures is None else float(figures[name].mean()) for name in ("own", "there")}
        users = 0 if figures is None else len(figures["own"])
        found = Transferred("", there, size, means["own"], means["there"], low, users)
        config = there if found.serves else own
        student = Student.fit(_everything(target), config)
        made = self._made(found, command)
        version = save_student(target.workspace.root / STUDENT, student, made, pl.Series(dtype=pl.String))
        return Transferred(version, config, size, found.own, found.there, low, users)

    def _made(self, found: Transferred, command: str) -> dict[str, Any]:
        target = self._target
        validation = {"split": target.name, "seed": target.seed, "twin": found.own, "student": found.there}
        return {
            "command": command,
            "catalog": target.workspace.catalog_fingerprint,
            "events": target.workspace.events_fingerprint,
            "space": target.space,
            "split": "",
            "teacher": "",
            "transferred": {"from": self._source.workspace.root.resolve().name, "serves": found.serves},
            "lists": {"learnt from": 0, "asked": 0},
            "validation": {**validation, "low": found.low, "proven": found.low is not None and found.serves},
            "how": {},
            "versions": versions(),
        }


def _everything(study: Study) -> TrainingData:
    """All events, of which there may be none."""
    columns, events = sorted(study.workspace.catalog.ids), study.workspace.events().collect()
    known = Histories.from_events(events, columns) if len(events) else Histories.of([], columns)
    return TrainingData(known, study.vectors, study.seed, study.facts)


def judged(study: Study, configs: Mapping[str, StudentConfig]) -> dict[str, Figures]:
    """NDCG@10 of each validation user, as the mean over draws, of untaught students with these constants."""
    draws = []
    for part in study.validations:
        data = part.training_data("validation")
        students = {name: Student.fit(data, config) for name, config in configs.items()}
        draws.append(ndcg_of_draw(part, part.task("validation"), students))
    means = over_draws(draws)
    return {name: means[name].to_numpy() for name in configs}
