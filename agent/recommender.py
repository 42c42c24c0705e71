"""The recommendation pipeline, from a request to rows: profile → retrieve → rank → fuse → explain."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from agent.evidence import EvidenceFinder, Taste, split_query
from agent.explanation import Explainer, Explanation
from agent.gate import proven_alpha
from agent.models import Models
from agent.settings import Settings
from retrieval.contracts import RankRequest
from retrieval.data.events import History
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import IndexMismatchError, InputError, WhyrecError, command
from retrieval.fusion import weighted
from retrieval.ranking import Rankings, order
from retrieval.text.filters import compile_where
from retrieval.text.index import ItemIndex
from retrieval.text.profile import Profile, interest_in
from retrieval.text.retriever import TextRetriever

Mode = Literal["retrieval", "auto", "full"]
Stage = Literal["retrieve", "rank", "fuse", "explain"]


@dataclass(frozen=True)
class Request:
    """Whom to recommend for, and how.

    At least one of user, likes (titles or ids) and query is needed. ``alpha`` None means what the gate has proven.
    """

    user: str | None = None
    likes: tuple[str, ...] = ()
    query: str = ""
    k: int = 10
    where: str = ""
    exclude_seen: bool = True
    mode: Mode = "auto"
    alpha: float | None = None
    explain: bool = False
    writer: Literal["lm", "template"] = "lm"


@dataclass(frozen=True)
class Recommended:
    """One row: the item, its place (from 1), the score that gave the place, and what each stage contributed.

    score is None where nothing was ranked.
    """

    place: int
    item_id: str
    label: str
    score: float | None
    stages: dict[str, float]
    explanation: Explanation | None = None


@dataclass
class Answer:
    """Rows, best first; notes say what was done differently from what one may expect; seconds by stage."""

    rows: list[Recommended]
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Person:
    taste: Taste
    profile: Profile
    history: History
    notes: tuple[str, ...]


class Recommender:
    """Answers requests from one workspace."""

    def __init__(self, workspace: Workspace, settings: Settings, models: Models):
        self._workspace = workspace
        self._settings = settings
        self._models = models

    @cached_property
    def index(self) -> ItemIndex:
        """The index, opened when first used.

        Raises:
            IndexMismatchError: there is none, another encoder made it, or it holds other items than the catalog.
        """
        index = ItemIndex(self._workspace.index_path, self._models.encoder_fingerprint)
        if index.made_from != self._workspace.catalog_fingerprint:
            raise IndexMismatchError(
                f"the index ({len(index):,} items) is not up to date with the catalog "
                f"({len(self._workspace.catalog):,}); run: {command('index', self._workspace.root)}"
            )
        return index

    @cached_property
    def titles(self) -> TitleMatcher:
        """Finds items by title."""
        return TitleMatcher(self._workspace.catalog)

    @cached_property
    def evidence(self) -> EvidenceFinder:
        """Finds evidence for explanations."""
        return EvidenceFinder(self._workspace.catalog, self.index.vectors)

    def recommend(self, request: Request) -> Answer:
        """Recommend at most ``request.k`` items.

        Raises:
            InputError: unknown user or title, nothing to go on, a filter that cannot be used or that no item fits.
            WorkspaceError: the index is missing, damaged or made from other items.
            ModelError: a model that the request needs cannot be loaded.
        """
        answer = Answer([])
        catalog = self._workspace.catalog
        where = compile_where(request.where, catalog) if request.where else None
        with _timed(answer, "retrieve"):
            person = self._person(request)
            answer.notes += person.notes
            pool = max(request.k, self._settings.ranking.candidates)
            found = TextRetriever(self.index).retrieve([person.profile], pool, where)
        if found.lengths[0] == 0:
            raise InputError("no item is left to recommend: every one is filtered out or was seen (--include-seen)")
        stages = {item_id: {"retrieve": score} for item_id, score in found.row(0)}
        alpha = self._alpha(request, answer)
        if request.mode == "full" or alpha > 0:
            with _timed(answer, "rank"):
                found = self._ranked(found, person.taste, alpha, stages)
        best = found.row(0)[: request.k]
        explanations = self._explanations([item_id for item_id, _ in best], person.taste, request, answer)
        answer.rows = [
            Recommended(place, item_id, catalog.label(item_id), score, stages[item_id], explanations.get(item_id))
            for place, (item_id, score) in enumerate(best, start=1)
        ]
        if len(answer.rows) < request.k:
            answer.notes.append(f"only {len(answer.rows)} of {request.k} items could be found")
        return answer

    def explain(self, request: Request, item: str) -> Answer:
        """Explain one item, by id or title, to the person of the request: an answer of one row without a score.

        Raises:
            InputError, WorkspaceError, ModelError: as `recommend`.
            WhyrecError: no sentence can state the evidence.
        """
        item_id = self.titles.find(item)
        person = self._person(request)
        label = self._workspace.catalog.label(item_id)
        explanation = self._explained([item_id], person.taste, request.writer)[0]
        if explanation is None:
            raise WhyrecError(f"no sentence about {label!r} passes the checks")
        notes = [*person.notes]
        if item_id in person.history.items:
            value = person.history.values[person.history.items.index(item_id)]
            notes.append(f"this user has had {label} already (value {value:g})")
        return Answer([Recommended(1, item_id, label, None, {}, explanation)], notes)

    def similar(self, item: str, k: int, where: str = "") -> Answer:
        """The k items whose text is nearest to that of an item, given by id or title."""
        answer = Answer([])
        item_id = self.titles.find(item)
        catalog = self._workspace.catalog
        with _timed(answer, "retrieve"):
            profile = Profile((interest_in(self.index.vectors([item_id])),), frozenset({item_id}))
            found = TextRetriever(self.index).retrieve([profile], k, compile_where(where, catalog) if where else None)
        if found.lengths[0] == 0:
            raise InputError("no other item fits the filter")
        answer.rows = [
            Recommended(place, other, catalog.label(other), score, {"retrieve": score})
            for place, (other, score) in enumerate(found.row(0), start=1)
        ]
        return answer

    def _person(self, request: Request) -> _Person:
        """What the person likes and asks for, as titles for people and as vectors for the index."""
        named = tuple(dict.fromkeys(self.titles.find(title) for title in request.likes))
        history = self._workspace.history(request.user) if request.user is not None else History((), ())
        from_history, did, notes = self._liked(history)
        query = request.query.strip()
        asked = self._models.encoder.encode([query]) if query else None
        _, unwanted = split_query(query)
        if unwanted:
            ruled_out = ", ".join(unwanted)
            notes.append(f"a query cannot rule out yet ({ruled_out}); use --where, as in 'genres !~ Horror'")
        interests = [interest_in(self.index.vectors(items)) for items in (from_history, named) if items]
        if asked is not None:
            interests.append(interest_in(asked))
        if not interests:
            raise InputError("nothing to go on: give a USER, --like TITLE or --query WORDS")
        seen = frozenset(history.items) if request.exclude_seen else frozenset()
        liked = {**dict.fromkeys(from_history, did), **dict.fromkeys(named, "liked")}
        taste = Taste(liked, query, None if asked is None else asked[0])
        return _Person(taste, Profile(tuple(interests), seen | set(named)), history, tuple(notes))

    def _liked(self, history: History) -> tuple[tuple[str, ...], str, list[str]]:
        """The items to go by, what the person did with them, and a note where nothing was rated well."""
        if len(history) == 0:
            return (), "liked", []
        threshold = self._settings.events.liked_from
        liked = tuple(i for i, value in zip(history.items, history.values, strict=True) if value >= threshold)
        if liked:
            return liked, self._settings.events.verb, []
        note = f"no event of this user reaches {threshold:g} (events.liked_from)"
        if min(history.values) == max(history.values):
            return history.items, "rated", [f"{note}; going by everything they rated"]
        mean = sum(history.values) / len(history)
        preferred = tuple(i for i, value in zip(history.items, history.values, strict=True) if value > mean)
        return preferred, "preferred", [f"{note}; going by what they rated above their own mean"]

    def _alpha(self, request: Request, answer: Answer) -> float:
        """The language model's weight: what was asked for, else what has been proven; says so where it is left out."""
        proven = proven_alpha()
        if request.mode == "retrieval":
            return 0.0
        if request.alpha is not None:
            return request.alpha
        if proven == 0:
            answer.notes.append(
                "the language model did not order this list: there is no tuned ranker, and an untuned one orders worse"
                + (
                    " (its scores are shown all the same)"
                    if request.mode == "full"
                    else " (--mode full shows its scores)"
                )
            )
        return proven

    def _ranked(self, found: Rankings, taste: Taste, alpha: float, stages: dict[str, dict[str, float]]) -> Rankings:
        """Let the language model score the candidates and, where α is above 0, order them by both scores."""
        text = self._workspace.catalog.text
        ids, retrieved = zip(*found.row(0), strict=True)
        history, texts = tuple(map(text, taste.liked)), tuple(map(text, ids))
        scores = self._models.ranker.score([RankRequest(history, ids, texts, taste.query)])[0]
        for item_id, score in zip(ids, scores.tolist(), strict=True):
            stages[item_id]["rank"] = score
        if alpha == 0:
            return found
        fused = order([ids], [weighted(np.asarray(retrieved), scores, alpha)], len(ids), "fusion")
        for item_id, score in fused.row(0):
            stages[item_id]["fuse"] = score
        return fused

    def _explanations(
        self, item_ids: list[str], taste: Taste, request: Request, answer: Answer
    ) -> dict[str, Explanation]:
        if not request.explain:
            return {}
        with _timed(answer, "explain"):
            written = self._explained(item_ids, taste, request.writer)
        passed = {item_id: one for item_id, one in zip(item_ids, written, strict=True) if one is not None}
        templates = sum(explanation.written_by == "template" for explanation in passed.values())
        if templates and request.writer == "lm":
            answer.notes.append(f"{templates} of {len(written)} explanations are templates: no draft passed the checks")
        if len(passed) < len(written):
            answer.notes.append(
                f"{len(written) - len(passed)} items stay without an explanation: none passed the checks"
            )
        return passed

    def _explained(
        self, item_ids: list[str], taste: Taste, writer: Literal["lm", "template"]
    ) -> list[Explanation | None]:
        explainer = Explainer(self._workspace.catalog, self._models, self._settings.items.noun, writer)
        return explainer.explain([self.evidence.find(item_id, taste) for item_id in item_ids])


@contextmanager
def _timed(answer: Answer, stage: Stage) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        answer.seconds[stage] = time.perf_counter() - start
