"""The lists that a ranker is tuned and judged on: what is found for people of whom something is held out."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agent.evaluation.fusing import find_fusions, fused_scorers
from agent.evaluation.study import Study
from agent.evaluation.tuning import tuned
from agent.evaluation.watch import Watch
from agent.gate import JudgedList
from agent.tuned_ranker import Learnt
from retrieval.cf.fused import Fused, Fusion, Strategy
from retrieval.cf.live import TEXT_ALONE, described, kept_fusion
from retrieval.cf.scorer import System, TrainingData
from retrieval.cf.scorers import SCORERS
from retrieval.contracts import Judge, RankRequest
from retrieval.data.catalog import Catalog
from retrieval.data.histories import Histories
from retrieval.data.workspace import EVENT_COLUMNS
from retrieval.errors import ModelError, command
from retrieval.metrics import find_hits
from retrieval.ranking import Columns, Floats
from retrieval.text.profile import telling

if TYPE_CHECKING:
    from finetune.ranker_training import TrainingList

DRAWS = 3  # of new items, or periods, that a ranker is proven on; what they hold out is not learnt from


class Retrieval:
    """What the ranker is given: a fusion of scorers, trained on whatever events it is given."""

    def __init__(self, fusion: Fusion, parameters: Mapping[str, Mapping[str, Any]] | None = None):
        """``parameters``: of scorers, by name; a scorer without them has its defaults."""
        names = fusion.used
        if fusion.weights:
            weight = dict(zip(fusion.scorers, fusion.weights, strict=True))
            fusion = replace(fusion, weights=tuple(weight[name] for name in names))
        self.fusion = replace(fusion, scorers=names)
        given = parameters or {}
        self._configs = {name: SCORERS[name].config_type.from_json(given.get(name, {})) for name in names}

    def fit(self, data: TrainingData) -> System:
        """The fused scorers, trained on these events."""
        return Fused(self.fusion, [SCORERS[name].fit(data, config) for name, config in self._configs.items()])

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of each scorer, as plain data."""
        return {name: config.to_json() for name, config in self._configs.items()}

    @property
    def described(self) -> dict[str, Any]:
        """As `retrieval.cf.live.described`."""
        return described(self.fusion)


def find_retrieval(study: Study, trials: int, watch: Watch) -> Retrieval:
    """What serves; for a split that was asked for, what would serve if its test part were unknown.

    Raises:
        ModelError: the fusion that serves is damaged, or the settings name one and there is none.
    """
    wanted = study.settings.ranking.fusion
    if wanted == "off":
        return Retrieval(TEXT_ALONE)
    if study.question.split is None:
        return _serving(study, wanted)
    names = fused_scorers(study.name)
    watch.start("Tuning scorers", len(names) * trials)
    winners = [tuned(study, name, trials, watch.advance) for name in names]
    fusions = find_fusions(study, winners)
    return Retrieval(fusions.strategies[fusions.best], {winner.scorer: winner.parameters for winner in winners})


def _serving(study: Study, wanted: Strategy | Literal["auto"]) -> Retrieval:
    root = study.workspace.root
    kept = kept_fusion(root / "models" / "fusion")
    if kept is None and wanted != "auto":
        raise ModelError(f"there is no fusion to serve by {wanted!r}; make it with: {command('tune', root)}")
    if kept is None:
        return Retrieval(TEXT_ALONE)
    fusion = kept.fusions[kept.best if wanted == "auto" else wanted]
    return Retrieval(fusion, {name: config.to_json() for name, config in kept.configs.items()})


@dataclass(frozen=True)
class Asked:
    """Validation lists: each user's row in the task, the candidates found (c,) best first, and their scores."""

    rows: list[int]
    columns: list[Columns]
    scores: list[Floats]


class Requests:
    """What the language model is asked, by column."""

    def __init__(self, study: Study, catalog: Catalog | None = None):
        """``catalog``: whose texts it reads; the workspace's own by default."""
        self._study = study
        self._catalog = catalog or study.workspace.catalog

    def of(self, history: Sequence[int], candidates: Sequence[int]) -> RankRequest:
        """About these candidates, told of this history."""
        told = tuple(self._texts[column] for column in history)
        ids = tuple(self._ids[column] for column in candidates)
        return RankRequest(told, ids, tuple(self._texts[column] for column in candidates))

    def of_person(self, liked: Columns, listed: Columns, asked: Columns | None = None) -> RankRequest:
        """About what is listed, told of the liked items that say most about it; ``asked``: about some of it alone."""
        vectors = self._study.untuned_vectors
        told = liked[telling(vectors[liked], vectors[listed])]
        return self.of(told.tolist(), (listed if asked is None else asked).tolist())

    @cached_property
    def _ids(self) -> list[str]:
        return sorted(self._study.workspace.catalog.ids)

    @cached_property
    def _texts(self) -> list[str]:
        return [self._catalog.text(item_id) for item_id in self._ids]


class RankingLists:
    """Lists of one study, with candidates by one retrieval; nothing of its test part is in them."""

    def __init__(
        self,
        study: Study,
        retrieval: Retrieval,
        unseen: Sequence[str] = (),
        catalog: Catalog | None = None,
        draws: Sequence[Study] = (),
        proving: Sequence[Study] = (),
    ):
        """``unseen``: fingerprints of the splits of whose test part nothing is in here; the study's own by default.

        catalog: whose texts the language model reads; the workspace's own by default. draws: studies that validate on
        other items or periods, the study first; by default its own. proving: others that something is proven on.
        """
        self.study = study
        self.retrieval = retrieval
        self._unseen = list(unseen) or [study.split.fingerprint]
        self._requests = Requests(study, catalog)
        self._draws = list(draws) or study.validations[:DRAWS]
        self._proving = [*self._draws[1:], *proving]

    @property
    def learnt(self) -> Learnt:
        """Where the lists are from."""
        study = self.study
        data = study.workspace.name, study.held_out.items, study.held_out.events
        return Learnt(
            *data, study.name, study.seed, study.split.fingerprint, self._unseen, study.workspace.catalog.sketch
        )

    def to_learn_from(self, size: int, seed: int) -> "Callable[[int], TrainingList]":
        """Draws the training list of a number, ``size`` candidates each, from `learnable` events.

        Raises:
            InputError: there is nothing to learn from.
        """
        from finetune.examples import ListSampler, cold_pools, warm_pools
        from finetune.ranker_training import TrainingList

        study = self.study
        make = cold_pools if study.name == "cold-items" else warm_pools
        histories = Histories.from_events(self.learnable, sorted(study.workspace.catalog.ids))
        data, shown = study.data_of(histories), study.settings.ranking.candidates

        def fit(histories: Histories) -> System:
            return self.retrieval.fit(replace(data, histories=histories))

        pools = make(histories, study.settings.events.liked_from, fit, shown, study.seed)
        sampler = ListSampler(pools, study.untuned_vectors, size, seed)

        def draw(number: int) -> TrainingList:
            one = sampler.draw(number)
            return TrainingList(self._requests.of(one.history, one.candidates), one.prior)

        return draw

    @property
    def learnable(self) -> pl.DataFrame:
        """The events that are learnt from in every validation that something is proven on."""
        events = self.study.split.before("validation")
        for other in self._proving:
            known = other.split.before("validation")
            events = events.join(known, on=EVENT_COLUMNS, how="semi", nulls_equal=True, maintain_order="left")
        return events

    @cached_property
    def everybody(self) -> "ValidationLists":
        """Those of the study's own validation, for everybody."""
        return ValidationLists(self.study, self.retrieval, self._requests)

    @cached_property
    def draws(self) -> list["ValidationLists"]:
        """Those that prove: each draw of items, or period, with a share of the people, nobody in two of them.

        Who has something to be found in several is dealt to one of these by chance.
        """
        there: dict[str, list[int]] = {}
        for place, study in enumerate(self._draws):
            for user in _askable(study):
                there.setdefault(user, []).append(place)
        chance = np.random.default_rng(self.study.seed).permutation(len(there)).tolist()
        dealt: list[set[str]] = [set() for _ in self._draws]
        for user, number in zip(sorted(there), chance, strict=True):
            dealt[there[user][number % len(there[user])]].add(user)
        made = zip(self._draws, dealt, strict=True)
        return [ValidationLists(study, self.retrieval, self._requests, people) for study, people in made]


def _askable(study: Study) -> dict[str, int]:
    """The row in the task of everybody who has something to be found in validation."""
    task = study.task("validation")
    rows = np.flatnonzero((np.diff(study.relevant(task).indptr) > 0) & (task.histories.counts > 0))
    return {task.histories.users[row]: row for row in rows.tolist()}


class ValidationLists:
    """What is found for people of whom something is held out in one validation, and how well it is ordered."""

    def __init__(self, study: Study, retrieval: Retrieval, requests: Requests, people: Set[str] | None = None):
        """``people``: who is asked about; everybody by default."""
        self._study = study
        self._retrieval = retrieval
        self._requests = requests
        self._people = people

    def asked(self, first: int, most: int) -> Asked:
        """Lists for at most ``most`` users who have something to be found, from the ``first`` on in an order by chance.

        The watched and the judged never overlap: half of the users are left for either.
        """
        task = self._study.task("validation")
        drawn = np.random.default_rng(self._study.seed).permutation(self._rows)
        rows = np.sort(drawn[first : first + most])
        size = self._study.settings.ranking.candidates
        found = self._retriever.top(task.histories.take(rows), size, candidates=task.candidates)
        there = found.columns >= 0
        columns = [one[keep] for one, keep in zip(found.columns, there, strict=True)]
        scores = [one[keep] for one, keep in zip(found.scores, there, strict=True)]
        return Asked(rows.tolist(), columns, scores)

    @property
    def askable(self) -> int:
        """How many users have something to be found."""
        return len(self._rows)

    def requests(self, asked: Asked) -> list[RankRequest]:
        """What the language model is asked about each of these lists."""
        task = self._study.task("validation")
        liked = task.histories.positives(self._study.settings.events.liked_from)
        had = [liked.indices[liked.indptr[row] : liked.indptr[row + 1]] for row in asked.rows]
        return [self._requests.of_person(own, columns) for own, columns in zip(had, asked.columns, strict=True)]

    def judged(self, asked: Asked, ranker: Judge, advance: Callable[[], None]) -> list[JudgedList]:
        """The language model's scores beside the retriever's, and what was to be found."""
        return self.judged_by(asked, ranker.score(self.requests(asked)), advance)

    def judged_by(
        self, asked: Asked, ranked: Sequence[Floats], advance: Callable[[], None] = lambda: None
    ) -> list[JudgedList]:
        """The same with scores that are there already."""
        task = self._study.task("validation")
        relevant = self._study.relevant(task)
        warm = task.popularity > 0
        lists = []
        for row, columns, scores, rank in zip(asked.rows, asked.columns, asked.scores, ranked, strict=True):
            hits = find_hits(columns[None, :], relevant[[row]])[0]
            count = int(relevant.indptr[row + 1] - relevant.indptr[row])
            known = int(task.histories.counts[row])
            lists.append(JudgedList(scores, rank, hits, count, warm[columns], known))
            advance()
        return lists

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        """Of these people those who have something to be found, as rows of the task."""
        asked = _askable(self._study).items()
        return np.array([row for user, row in asked if self._people is None or user in self._people], dtype=np.int64)

    @cached_property
    def _retriever(self) -> System:
        return self._retrieval.fit(self._study.training_data("validation"))
