"""The recommendation pipeline, from a request to rows: profile → retrieve → rank → fuse → shape → explain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from agent.attribution import Attribution, StudentAttribution, TextAttribution
from agent.evidence import Taste
from agent.evidence_finder import EvidenceFinder
from agent.explanation import Explainer, Explanation
from agent.models import Models
from agent.person import Person, PersonReader
from agent.ranking_stage import RankingStage
from agent.request import Answer, Recommended, Request
from agent.settings import Settings
from agent.shaping_stage import Chosen, Ordered, ShapingStage
from agent.stored_student import fitting_student
from retrieval.cf.fused import POOL
from retrieval.cf.live import TEXT, LiveFusion, load_fusion
from retrieval.data.catalog import Catalog
from retrieval.data.crowd import Crowd
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, WhyrecError, WorkspaceError, command
from retrieval.ranking import Floats, Rankings
from retrieval.text.filters import Where, compile_where
from retrieval.text.index import ItemIndex, open_index
from retrieval.text.profile import Profile, interest_in
from retrieval.text.retriever import TextRetriever
from retrieval.text.tower import Tower

if TYPE_CHECKING:
    from retrieval.text.lexical import LexicalIndex


class Recommender:
    """Answers requests from one workspace."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        models: Models,
        live: LiveFusion | None = None,
        had: Mapping[str, int] | None = None,
    ):
        """``live`` puts further scorers beside the text; `serving` gives the one that the workspace has.

        ``had``: how many users had each item that somebody had, None for those of all events.
        """
        self._workspace = workspace
        self._settings = settings
        self._models = models
        self._live = live
        self._ranking = RankingStage(workspace, settings, models, None if had is None else frozenset(had))
        self._shaping = ShapingStage(workspace, had)

    @cached_property
    def index(self) -> ItemIndex:
        """The index, opened when first used.

        Raises:
            IndexMismatchError: there is none, another encoder made it, or it holds other items than the catalog.
        """
        index = open_index(self._workspace, self._models.encoder_fingerprint, self._settings.chroma.options)
        if self._live and self._live.space not in ("", index.space):
            raise WorkspaceError(
                "the fusion was trained on other vectors than the index has now; run: "
                f"{command('tune', self._workspace.root)}, or serve without it: WHYREC_RANKING__FUSION=off"
            )
        return index

    @cached_property
    def _lexical(self) -> "LexicalIndex":
        from retrieval.text.lexical import open_lexical

        return open_lexical(self._workspace)

    @property
    def catalog(self) -> Catalog:
        """The items that it recommends."""
        return self._workspace.catalog

    @cached_property
    def titles(self) -> TitleMatcher:
        """Finds items by title."""
        return TitleMatcher(self.catalog)

    @cached_property
    def people(self) -> PersonReader:
        """Reads who is asking."""
        text = self._live.text if self._live else None

        def vectors(ids: Sequence[str]) -> Floats:
            return self.index.vectors(ids)  # opened only when a history or a like has been found

        def encode(texts: Sequence[str]) -> Floats:
            return self.index.encode(self._models.query_encoder, texts)

        tower = self._live.tower if self._live else None
        given = vectors, lambda: self.index.spread, encode
        return PersonReader(self._workspace, self._settings, self.titles, *given, text, tower)

    @cached_property
    def _evidence_by_text(self) -> EvidenceFinder:
        return self._finder(TextAttribution(self.index.vectors, lambda: self.index.spread, self.people.text))

    @cached_property
    def _evidence(self) -> EvidenceFinder:
        """By the student where there is one of these items, else by the text; ModelError: the student is damaged."""
        stored = fitting_student(self._workspace)
        if stored is None:
            return self._evidence_by_text
        return self._finder(StudentAttribution(stored.student, sorted(self.catalog.ids)))

    def _finder(self, attribution: Attribution) -> EvidenceFinder:
        crowd = Crowd(self._workspace, self._settings.events.liked_from, self._settings.events.verb)
        return EvidenceFinder(self.catalog, self.index.vectors, attribution, crowd)

    def recommend(self, request: Request) -> Answer:
        """Recommend at most ``request.k`` items.

        Raises:
            InputError: unknown user or title, nothing to go on, a filter that cannot be used or that no item fits, or
                items that cannot be pinned or calibrated by.
            WorkspaceError: the index is missing, damaged or made from other items.
            ModelError: a model that the request needs cannot be loaded.
        """
        answer = Answer([])
        where = compile_where(request.where, self.catalog) if request.where else None
        among = self._allowed(request, where)
        live = self._fusion_for(request)
        chosen = Chosen.of(request, lambda: self.titles)
        wanted = max(request.k, self._settings.ranking.candidates)
        depth = request.shaping.pool(wanted)
        with answer.timed("retrieve"):
            person = self.people.read(request).without(chosen.banned)
            self._shaping.check(chosen, person.history)
            answer.notes += person.notes
            pool = max(depth, POOL) if live else depth
            found = TextRetriever(self.index, self._lexical if person.profile.words else None).retrieve(
                [person.profile], pool, where, among
            )
        if found.lengths[0] == 0:
            raise InputError("no item is left to recommend: every one is filtered out or was seen (--include-seen)")
        stages = {item_id: {"retrieve": score} for item_id, score in found.row(0)}
        by: tuple[str, ...] = ("retrieve",)
        if live:
            if live.events not in ("", self._workspace.events_fingerprint):
                root = self._workspace.root
                answer.notes.append(
                    f"the scorers know other events than there are now; renew them: {command('tune', root)}"
                )
            with answer.timed("fuse"):
                found, stages, by = self._fused(live, found, person, where, among, depth)
        first = found.first(wanted)  # all that the language model may order
        ranked, has_say = self._ranking.order(request, live, first, person, stages, self.index.vectors, answer)
        found = found if ranked is None else ranked
        by = (*by, "rank") if has_say else by
        with answer.timed("shape"):
            ordered = Ordered(found, stages, by)
            self._shaping.fill(answer, ordered, request, chosen, person.history, self.index.vectors)
        return self._told(answer, person.taste, request)

    def explained(self, answer: Answer, request: Request) -> Answer:
        """The answer that the student gave to this request, with explanations (`agent.fast`).

        Raises:
            InputError, WorkspaceError, ModelError: as `recommend`.
        """
        return self._told(answer, self.people.read(request).taste, request)

    def explain(self, request: Request, item: str) -> Answer:
        """Explain one item, by id or title, to the person of the request: an answer of one row without a score.

        Raises:
            InputError, WorkspaceError, ModelError: as `recommend`.
            WhyrecError: no sentence can state the evidence.
        """
        item_id = self.titles.find(item)
        person = self.people.read(request)
        label = self.catalog.label(item_id)
        explanation = self._explained([item_id], person.taste, request)[0]
        if explanation is None:
            raise WhyrecError(f"no sentence about {label!r} passes the checks")
        notes = [*person.notes, *self._of_the_writer(request)]
        if item_id in person.history.items:
            value = person.history.values[person.history.items.index(item_id)]
            notes.append(f"this user has had {label} already (value {value:g})")
        elif item_id in person.history.seen:
            notes.append(f"this user has had {label} already")
        if item_id in person.history.never:
            notes.append(f"this user disliked or hid {label}: it is never recommended to them")
        return Answer([Recommended(1, item_id, label, None, {}, explanation=explanation)], notes)

    def similar(self, item: str, k: int, where: str = "") -> Answer:
        """The k items whose text is nearest to that of an item, given by id or title."""
        answer = Answer([])
        item_id = self.titles.find(item)
        with answer.timed("retrieve"):
            profile = Profile((interest_in(self.index.vectors([item_id])),), frozenset({item_id}))
            found = TextRetriever(self.index).retrieve(
                [profile], k, compile_where(where, self.catalog) if where else None
            )
        if found.lengths[0] == 0:
            raise InputError("no other item fits the filter")
        answer.rows = [
            Recommended(place, other, self.catalog.label(other), score, {"retrieve": score}, ("retrieve",))
            for place, (other, score) in enumerate(found.row(0), start=1)
        ]
        return answer

    def _fusion_for(self, request: Request) -> LiveFusion | None:
        """What may order: each fusion was validated on people with a history or with a few likes, none on words."""
        if self._live is None or request.mode == "retrieval" or request.query.strip():
            return None
        known = request.user is not None or request.history is not None
        return self._live if known else self._live.for_likes

    def _allowed(self, request: Request, where: Where | None) -> Sequence[str] | None:
        """The only ids that may be recommended, None when there is no such limit but ``where``."""
        if request.among is None:
            return None
        fitting = request.among if where is None else request.among.intersection(self.index.ids(where))
        return sorted(fitting)

    def _fused(
        self,
        live: LiveFusion,
        found: Rankings,
        person: Person,
        where: Where | None,
        among: Sequence[str] | None,
        k: int,
    ) -> tuple[Rankings, dict[str, dict[str, float]], tuple[str, ...]]:
        """The best of what text and scorers found, the score of each stage, and which of them had a say."""
        allowed = among if among is not None or where is None else self.index.ids(where)
        others = live.find(person.history, person.profile.exclude, allowed)
        profiles = {TEXT: person.profile} | ({Tower.name: person.tower} if person.tower else {})
        profiles = {name: profile for name, profile in profiles.items() if name in live.fusion.used}
        lists = {TEXT: found}
        if Tower.name in profiles:
            lists[Tower.name] = TextRetriever(self.index).retrieve([profiles[Tower.name]], POOL, where, among)
        by_text = {item_id for name in profiles for item_id, _ in lists[name].row(0)}
        ids = sorted(by_text | {live.items[column] for column in others.columns})
        vectors = self.index.vectors(ids)
        fused, given = live.order(others, ids, {name: one.score(vectors) for name, one in profiles.items()}, k)
        row = {item_id: place for place, item_id in enumerate(ids)}
        stages = {}
        for item_id, score in fused.row(0):
            parts = {"retrieve" if name == TEXT else name: float(s[row[item_id]]) for name, s in given.items()}
            stages[item_id] = {**parts, "fuse": score}
        return fused, stages, tuple("retrieve" if name == TEXT else name for name in live.fusion.used)

    def _told(self, answer: Answer, taste: Taste, request: Request) -> Answer:
        """The answer with explanations, if they are asked for."""
        if not request.explain:
            return answer
        with answer.timed("explain"):
            written = self._explained([row.item_id for row in answer.rows], taste, request)
        passed = [one for one in written if one is not None]
        templates = sum(explanation.written_by == "template" for explanation in passed)
        answer.notes += self._of_the_writer(request)
        if templates and request.writer != "template":
            answer.notes.append(f"{templates} of {len(written)} explanations are templates: no draft passed the checks")
        if len(passed) < len(written):
            answer.notes.append(
                f"{len(written) - len(passed)} items stay without an explanation: none passed the checks"
            )
        answer.rows = [replace(row, explanation=one) for row, one in zip(answer.rows, written, strict=True)]
        return answer

    def _of_the_writer(self, request: Request) -> list[str]:
        notes = self._models.remote.take_notes()
        remote = self._settings.remote.writer and not notes
        untuned = request.writer == "lm" and not remote and self._models.tuned_adapter("writer") is None
        return [
            *notes,
            *(["the language model writes untuned; tune it with: whyrec finetune writer"] if untuned else []),
        ]

    def _explained(self, item_ids: list[str], taste: Taste, request: Request) -> list[Explanation | None]:
        explainer = Explainer(self.catalog, self._models, self._settings.items.noun, request.writer, request.language)
        finder = self._evidence_by_text if request.mode == "retrieval" else self._evidence
        found = [finder.find(item_id, taste) for item_id in item_ids]
        if request.style == "contrast":
            after = (finder.contrasted(one, item_id) for one, item_id in zip(found, item_ids[1:], strict=False))
            found = [*after, *found[-1:]]
        return explainer.explain(found, detailed=request.style == "detailed")


def serving(workspace: Workspace, settings: Settings) -> LiveFusion | None:
    """The fusion that the settings let serve; None where the text serves alone.

    Raises:
        WorkspaceError, ModelError: as `load_fusion`.
    """
    if settings.ranking.fusion == "off":
        return None
    return load_fusion(workspace.root, settings.ranking.fusion, workspace.catalog.ids, workspace.catalog_fingerprint)
