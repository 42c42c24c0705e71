"""The student's teacher: the scorers, and the language model where its gate lets it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agent.encoders import OFF
from agent.evaluation.study import Question, Study
from agent.evaluation.watch import Watch
from agent.gate import CLOSED, put_together
from agent.models import Models
from agent.ranking_lists import Requests, Retrieval, find_retrieval
from agent.remote.kept import KeptScores
from agent.remote.ranker import RemoteRanker
from agent.settings import RANKER, REMOTE_RANKER
from agent.tuned_ranker import UNPROVEN, TunedRanker, ranker_of_split
from agent.tuned_study import open_study
from retrieval.cf.live import TEXT_ALONE
from retrieval.cf.scorer import System, TrainingData
from retrieval.contracts import Judge
from retrieval.data.histories import Histories
from retrieval.data.labels import LABELS, Label
from retrieval.data.workspace import Workspace
from retrieval.errors import command
from retrieval.ranking import Floats

Known = Mapping[tuple[str, str], Mapping[str, float | None]]  # by user and history, what the model said of each item


@dataclass(frozen=True)
class Classroom:
    """Where a student is taught. data: what may be learnt from. among: (m,) what may be listed, None for all.

    split: fingerprint of the split whose test part is left alone, "" where all events are learnt from.
    """

    data: TrainingData
    among: NDArray[np.bool_] | None
    split: str

    @classmethod
    def of_all(cls, study: Study) -> "Classroom":
        """All events, for a student that serves."""
        return cls(study.everything(), None, "")

    @classmethod
    def of_test(cls, study: Study) -> "Classroom":
        """All but the test part, for a student that is measured."""
        return cls(study.training_data("test"), study.task("test").candidates, study.split.fingerprint)

    @classmethod
    def of_validation(cls, study: Study) -> "Classroom":
        """What may be seen before validation."""
        return cls(study.training_data("validation"), study.task("validation").candidates, study.split.fingerprint)


@dataclass
class _List:
    """One person's list while it is made. said: by the language model, by item id."""

    user: str
    history: str
    liked: NDArray[np.int64]
    columns: NDArray[np.int64]
    retrieved: Floats
    alpha: float
    said: dict[str, float | None]


class Teacher:
    """Ranks for the people of a classroom as `whyrec recommend` would."""

    def __init__(self, study: Study, room: Classroom, retrieval: Retrieval, ranker: TunedRanker | None):
        """``ranker``: the tuned one, if its gate was proven on this retrieval; None: the scorers teach alone."""
        self.study = study
        self.room = room
        self._retrieval = retrieval
        self._ranker = ranker
        self._gate = (ranker.gate_in(study.workspace) if ranker else None) or CLOSED
        self._requests = Requests(study)

    @cached_property
    def language_model(self) -> Judge:
        """The ranker that has a say.

        Raises:
            ModelError: it cannot be loaded.
        """
        named = OFF if self._ranker is None else str(self._ranker.folder)
        models = Models(self.study.settings.with_ranker(named), self.study.models.say)
        return RemoteRanker(models.remote, self.answers) if models.settings.remote.ranker else models.ranker

    @cached_property
    def answers(self) -> KeptScores:
        """What a remote language model has said, until the lists are kept: a list that broke off is not paid again."""
        return KeptScores(self.study.workspace.root / LABELS / f"{self.fingerprint}.ndjson")

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of what decides what it says: scorers, ranker, encoder, what is liked, and the split.

        Not of items and events, so that what the language model has said outlives further ones; the scorers' part of a
        list is renewed whenever it has changed.
        """
        ranker = (self._ranker.version, self._ranker.base_fingerprint) if self._ranker else None
        settings = self.study.settings
        made = (self.study.models.encoder_fingerprint, settings.events.liked_from, settings.ranking.candidates)
        scorers = (self._retrieval.described, self._retrieval.parameters)
        parts = (*scorers, ranker, self._gate.to_json(), self.room.split, *made)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def histories(self) -> Histories:
        """Of the people it can be asked about."""
        return self.room.data.histories

    @cached_property
    def may_ask(self) -> NDArray[np.bool_]:
        """(n,) for whom the language model has a say in some kind of lists."""
        return np.array([self._gate.may_speak(int(count)) for count in self.histories.counts], dtype=np.bool_)

    def with_say(self, labels: pl.DataFrame) -> pl.DataFrame:
        """The same with the column ``say``: whether the gate gives the language model a say in the list of an item."""
        place = {item_id: column for column, item_id in enumerate(self._ids)}
        known = dict(zip(self.histories.users, self.histories.counts.tolist(), strict=True))
        say = [
            (user, self._gate.alpha(self._warm[[place[item_id] for item_id in items]], known[user]) > 0)
            for user, items in labels.group_by("user_id", maintain_order=True).agg("item_id").iter_rows()
        ]
        found = pl.DataFrame(say, {"user_id": pl.String, "say": pl.Boolean}, orient="row")
        return labels.join(found, on="user_id", how="left", maintain_order="left")

    def label(self, rows: Sequence[int], known: Known, *, ask: bool) -> list[list[Label]]:
        """The list of each of these people, at most ``candidates`` of the settings; ``ask`` the language model or not.

        ``known``: what it said before, so that it is asked about the other items alone. An empty list where nothing is
        left to list.
        """
        lists = self._found(np.array(rows, dtype=np.int64), known)
        if ask:
            self._ask(lists)
        return [self._labels(one) for one in lists]

    def _found(self, rows: NDArray[np.int64], known: Known) -> list["_List"]:
        """What the scorers find for these people."""
        people = self.histories.take(rows)
        hashes = people.hashes()
        size = self.study.settings.ranking.candidates
        found = self._system.top(people, size, candidates=self.room.among)
        liked = people.positives(self.study.settings.events.liked_from)
        lists = []
        for place, user in enumerate(people.users):
            columns = found.columns[place][found.columns[place] >= 0]
            alpha = self._gate.alpha(self._warm[columns], int(people.counts[place]))
            said = dict(known.get((user, hashes[place]), {}))
            had = liked.indices[liked.indptr[place] : liked.indptr[place + 1]]
            lists.append(_List(user, hashes[place], had, columns, found.scores[place][: len(columns)], alpha, said))
        return lists

    def _ask(self, lists: "list[_List]") -> None:
        """Ask the language model about the items of which it has said nothing, where it has a say."""
        asked, requests = [], []
        for one in lists:
            silent = [column for column in one.columns if one.said.get(self._ids[column]) is None]
            if silent and one.alpha:
                asked.append(one)
                requests.append(self._requests.of_person(one.liked, one.columns, np.array(silent)))
        if not requests:
            return
        for one, request, scores in zip(asked, requests, self.language_model.score(requests), strict=True):
            one.said.update(zip(request.candidates, scores.tolist(), strict=True))

    def _labels(self, one: "_List") -> list[Label]:
        ids = [self._ids[column] for column in one.columns]
        ranked = [one.said.get(item_id) for item_id in ids]
        final = one.retrieved
        if ranked and all(said is not None for said in ranked):
            final = put_together(one.retrieved, np.array(ranked, dtype=np.float32), one.alpha)
        return [
            Label(self.fingerprint, one.user, one.history, item_id, float(before), said, float(score))
            for item_id, before, said, score in zip(ids, one.retrieved, ranked, final, strict=True)
        ]

    @cached_property
    def _system(self) -> System:
        return self._retrieval.fit(self.room.data)

    @cached_property
    def _warm(self) -> NDArray[np.bool_]:
        counts = np.bincount(self.histories.values.indices, minlength=len(self._ids))
        return np.asarray(counts > 0)

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return self.histories.items


def measurable_ranker(study: Study) -> TunedRanker | None:
    """The ranker that was tuned on this very split, else the one that serves if it has not seen the test part."""
    remote = study.settings.remote.ranker
    own = ranker_of_split(study.workspace.root / (REMOTE_RANKER if remote else RANKER), study.held_out)
    if own is not None and remote and own.base_fingerprint != study.models.remote.fingerprint:
        own = None
    serving = study.models.tuned_ranker if own is None else None
    if serving is None or not serving.may_be_measured(study.held_out):
        return own
    elsewhere = not serving.folder.resolve().is_relative_to(study.workspace.root.resolve())
    # One of this workspace that knows neither its items nor its events of now has learnt from what they were before.
    return serving if elsewhere or serving.learnt_of(study.held_out) else own


def find_teacher(study: Study, retrieval: Retrieval, *, measured: bool) -> tuple[Teacher, str]:
    """The teacher of all events or, if its student is to be ``measured``, of all but the test part.

    And why no language model has a say in it; "" where one has.

    Raises:
        ModelError: the ranker is damaged.
    """
    ranker, why = (measurable_ranker(study) if measured else study.models.tuned_ranker), ""
    if study.settings.ranking.ranker == OFF:
        why = "the setting ranking.ranker is off"
    elif ranker is None:
        why = "no ranker was tuned that may be measured on this split" if measured else study.models.why_no_ranker
    elif (gate := ranker.gate_in(study.workspace)) is None:
        why = UNPROVEN
    elif not gate.opens:
        why = "validation did not prove that the ranker helps"
    elif ranker.retrieval != retrieval.described:
        why = "the ranker was proven on other candidates; renew it: whyrec finetune ranker"
    room = Classroom.of_test(study) if measured else Classroom.of_all(study)
    return Teacher(study, room, retrieval, None if why else ranker), why


def open_teacher(
    workspace: Workspace, models: Models, split: str | None, seed: int, trials: int, watch: Watch
) -> tuple[Teacher, Retrieval]:
    """The teacher of all events or, with a split, of all but its test part; and what finds its candidates.

    Where no language model has a say, ``watch`` is told why.
    """
    study = open_study(workspace, models.settings, models, Question(split), seed)
    retrieval = find_retrieval(study, trials, watch)
    teacher, why = find_teacher(study, retrieval, measured=split is not None)
    if why:
        watch.note(f"the scorers teach alone: {why}")
    if split is None and retrieval.fusion == TEXT_ALONE and models.settings.ranking.fusion != "off":
        again = command("tune", workspace.root)
        watch.note(f"the text alone finds what is listed; there is more to learn from other scorers: {again}")
    return teacher, retrieval
