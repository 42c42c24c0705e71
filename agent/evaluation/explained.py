"""How true, varied and personal explanations are: the metrics of explanation studies, on lists for users at random."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agent.evaluation.claims import ClaimReader, Claims
from agent.evaluation.report import Row
from agent.evaluation.watch import Watch
from agent.evidence import Evidence
from agent.explanation import Explanation
from agent.models import Models
from agent.recommender import Recommender, serving
from agent.request import Recommended, Request, Writer
from agent.settings import Settings
from agent.stored_student import fitting_student
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError
from retrieval.significance import bootstrap_means, interval

PLACES = 10
SYSTEMS: dict[str, Writer] = {"writer": "lm", "template": "template", "lm-zero-shot": "lm-zero-shot"}


@dataclass(frozen=True)
class Explained:
    """One explanation: whose, of what, and what it claims. wording: the text without names and values."""

    user: str
    item_id: str
    text: str
    written_by: str
    evidence: Evidence
    claims: Claims
    wording: str


class ExplanationStudy:
    """Explains lists to users at random and measures what was written."""

    def __init__(
        self,
        workspace: Workspace,
        recommender: Recommender,
        liked_from: float,
        score: Callable[[History, str], float],
        seed: int,
        watch: Watch,
    ):
        """``score``: of an item for a history, by what tells what speaks for it."""
        self._workspace = workspace
        self._recommender = recommender
        self._score = score
        self._seed = seed
        self._watch = watch
        events = workspace.events().collect()
        self._users = events["user_id"].unique().sort().to_list()
        self._reader = ClaimReader(workspace.catalog, events, liked_from)
        self._features = len({a for item_id in workspace.catalog.ids for a in workspace.catalog.attributes(item_id)})

    def run(self, count: int, system: str, data: str) -> tuple[list[Row], list[Explained]]:
        """At least ``count`` explanations, ten for a user, by one of `SYSTEMS`; their figures, and they themselves.

        Raises:
            InputError: the workspace has no events.
        """
        if not self._users:
            raise InputError("there is nobody to explain to: the workspace has no events")
        writer = SYSTEMS[system]
        wanted = min(-(-count // PLACES), len(self._users))
        drawn = np.random.default_rng(self._seed).permutation(len(self._users))[:wanted]
        users = [self._users[place] for place in drawn]
        self._watch.start(f"Explaining lists to {len(users)} users", len(users))
        found: list[Explained] = []
        missing, lists = 0, []
        for user in users:
            request = Request(user, k=PLACES, explain=True, writer=writer)
            rows = self._recommender.recommend(request).rows
            lists.append(rows)
            missing += sum(row.explanation is None for row in rows)
            going_by = self._recommender.people.read(request).taste.liked
            found += [self._read(user, row.explanation, going_by) for row in rows if row.explanation]
            self._watch.advance()
        figures = self._figures(found, missing)
        figures["user-specific"] = self._specific(users, lists, writer)
        return [_row(data, system, name, values, self._seed) for name, values in figures.items()], found

    def _read(self, user: str, explanation: Explanation, going_by: Collection[str]) -> Explained:
        text, evidence = explanation.text, explanation.evidence
        claims = self._reader.read(text, evidence.item_id, going_by)
        wording = text
        for part in sorted([evidence.label, *(c.label for c in evidence.cited), *claims.values], key=len, reverse=True):
            wording = wording.replace(part, "…")
        return Explained(user, evidence.item_id, text, explanation.written_by, evidence, claims, wording)

    def _figures(self, found: Sequence[Explained], missing: int) -> dict[str, Sequence[float]]:
        """By metric, what its mean is taken over."""
        values = [set(one.claims.values) for one in found]
        uses = Counter(value for one in values for value in one)
        pairs = math.comb(len(found), 2)
        return {
            "grounded-name-precision": [c.true_names / c.names for c in (one.claims for one in found) if c.names],
            "attribute-precision": [c.true_values / len(c.values) for c in (one.claims for one in found) if c.values],
            "number-precision": [c.true_numbers / c.numbers for c in (one.claims for one in found) if c.numbers],
            "lm-written": [float(one.written_by == "lm") for one in found],
            "fallback": [float(one.written_by != "lm") for one in found],
            "unexplained": [0.0] * len(found) + [1.0] * missing,
            "usr": [len({one.text for one in found}) / len(found)] if found else [],
            "usr-wording": [len({one.wording for one in found}) / len(found)] if found else [],
            "div": [sum(math.comb(times, 2) for times in uses.values()) / pairs] if pairs else [],
            "fcr": [len(set().union(*values)) / self._features] if found and self._features else [],
            "faithful": [float(one) for each in found for one in self._falls(each)],
        }

    def _falls(self, one: Explained) -> list[bool]:
        """Of each cited item, whether the item's score falls without it."""
        if not one.evidence.cited:
            return []
        history = self._workspace.history(one.user)
        score = self._score(history, one.item_id)
        rests = [history.without(cited.item_id) for cited in one.evidence.cited]
        return [len(rest) == 0 or self._score(rest, one.item_id) < score for rest in rests]

    def _specific(self, users: Sequence[str], lists: Sequence[Sequence[Recommended]], writer: Writer) -> list[float]:
        """Of each user's first item, explained to the one before as well: whether other evidence gives other words."""
        found = []
        for rows, other in zip(lists[1:], users, strict=False):
            if not rows or rows[0].explanation is None:
                continue
            first = rows[0].explanation
            second = (
                self._recommender.explain(Request(other, writer=writer), f"id:{rows[0].item_id}").rows[0].explanation
            )
            if second is not None and replace(second.evidence, query="") != replace(first.evidence, query=""):
                found.append(float(first.text != second.text))
        return found


def _row(data: str, system: str, metric: str, values: Sequence[float], seed: int) -> Row:
    """The mean with its interval; of a figure of all together there is none."""
    if not values:
        return Row(data, "all", system, "all", metric, 0, None, None, None, 0, None)
    mean = float(np.mean(values))
    low = high = None
    if len(values) > 1:
        low, high = interval(bootstrap_means(np.array(values)[:, None], seed)[:, 0])
    return Row(data, "all", system, "all", metric, 0, mean, low, high, len(values), None)


def score_of(workspace: Workspace, settings: Settings, models: Models) -> Callable[[History, str], float]:
    """The score of an item for a history by what explanations go by: the student, or the text where there is none."""
    stored = fitting_student(workspace)
    if stored is None:
        by_text = Recommender(workspace, settings, models, serving(workspace, settings))

        def text_score(history: History, item_id: str) -> float:
            only = Request(history=history, among=frozenset({item_id}), exclude_seen=False, mode="retrieval", k=1)
            return by_text.recommend(only).rows[0].score or 0.0

        return text_score
    items = tuple(sorted(workspace.catalog.ids))

    def student_score(history: History, item_id: str) -> float:
        column = np.array([items.index(item_id)])
        return float(stored.student.score(Histories.of([history], items), column)[0, 0])

    return student_score


def beside_evidence(found: Sequence[Explained], count: int, seed: int) -> list[dict[str, Any]]:
    """So many of them at random, for a person to read."""
    drawn = np.random.default_rng(seed).permutation(len(found))[:count]
    return [
        {"user": one.user, "text": one.text, "written_by": one.written_by, "evidence": one.evidence}
        for one in (found[place] for place in drawn)
    ]
