"""The stage in which the language model may order the candidates, where its gain has been proven."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from agent.encoders import OFF
from agent.evidence import Taste
from agent.gate import Gate, put_together
from agent.models import Models
from agent.person import Person
from agent.request import Answer, Request
from agent.settings import Settings
from agent.tuned_ranker import UNPROVEN, TunedRanker
from retrieval.cf.live import TEXT_ALONE, LiveFusion, described
from retrieval.contracts import RankRequest
from retrieval.data.workspace import Workspace
from retrieval.errors import RemoteError, command
from retrieval.ranking import Floats, Rankings, order
from retrieval.text.profile import telling


class RankingStage:
    """Knows what weight the language model has, and orders by it."""

    def __init__(self, workspace: Workspace, settings: Settings, models: Models, warm: frozenset[str] | None):
        """``warm``: the items that somebody had, None for those of all events."""
        self._workspace = workspace
        self._settings = settings
        self._models = models
        self._warm = warm

    def order(
        self,
        request: Request,
        live: LiveFusion | None,
        found: Rankings,
        person: Person,
        stages: dict[str, dict[str, float]],
        vectors: Callable[[Sequence[str]], Floats],
        answer: Answer,
    ) -> tuple[Rankings | None, bool]:
        """The candidates in their final order, None if the language model was not asked, and whether it had a say.

        Its scores are put into ``stages``, what is left out or downgraded into the answer's notes. live: the fusion
        that ordered the candidates, None for the text alone. vectors: of items, by id.

        Raises:
            ModelError: the language model cannot be loaded, or a remote one fails and nothing may take its place.
        """
        alpha = self._alpha(request, live, found, len(person.history), answer)
        if request.mode != "full" and not alpha:
            return None, False
        try:
            with answer.timed("rank"):
                return self._ranked(found, person.taste, alpha, stages, vectors), bool(alpha)
        except RemoteError as error:
            if not self._settings.remote.downgrade:
                raise
            answer.notes.append(f"{error}; the local model ranks instead, where it is proven")
            local = RankingStage(self._workspace, self._models.local.settings, self._models.local, self._warm)
            return local.order(request, live, found, person, stages, vectors, answer)

    def _alpha(self, request: Request, live: LiveFusion | None, found: Rankings, history: int, answer: Answer) -> float:
        """The language model's weight for this list: what was asked for, else what has been proven.

        ``history``: how many events are known of the person. The answer is told where the language model is left out.
        """
        if request.mode == "retrieval":
            return 0.0
        if request.alpha is not None:
            return request.alpha
        why, alpha = self._why_not_ranked(request, live), 0.0
        if not why and self._gate:
            warm = np.array([item_id in self._known for item_id, _ in found.row(0)], dtype=np.bool_)
            alpha = self._gate.alpha(warm, history)
        if not alpha:
            why = why or "its gain is not proven for such a person and such items"
            shown = "its scores are shown all the same" if request.mode == "full" else "--mode full shows its scores"
            answer.notes.append(f"the language model did not order this list: {why} ({shown})")
        return alpha

    def _ranked(
        self,
        found: Rankings,
        taste: Taste,
        alpha: float,
        stages: dict[str, dict[str, float]],
        vectors: Callable[[Sequence[str]], Floats],
    ) -> Rankings:
        """Let the language model score the candidates and, where it has a weight, order them by both scores."""
        text = self._workspace.catalog.text
        ids, retrieved = zip(*found.row(0), strict=True)
        liked = tuple(taste.liked)
        told = [liked[row] for row in telling(vectors(liked), vectors(ids))]
        request = RankRequest(tuple(map(text, told)), ids, tuple(map(text, ids)), taste.query)
        scores = self._models.ranker.score([request])[0]
        for item_id, score in zip(ids, scores.tolist(), strict=True):
            stages[item_id]["rank"] = score
        if not alpha:
            return found
        final = put_together(np.array(retrieved, dtype=np.float32), scores, alpha)
        fused = order([ids], [final], len(ids), "fusion")
        for item_id, score in fused.row(0):
            stages[item_id]["fuse"] = score
        return fused

    def _why_not_ranked(self, request: Request, live: LiveFusion | None) -> str:
        """Why the gate of the tuned ranker does not apply; empty where it does."""
        tuned = self._tuned
        if tuned is None:
            return self._models.why_no_ranker
        if self._gate is None:
            return UNPROVEN
        if not self._gate.opens:
            return "validation did not prove that it helps"
        if request.query.strip() or (request.user is None and request.history is None):
            return "it was proven on people with a history alone"
        if tuned.retrieval != described(live.fusion if live else TEXT_ALONE):
            again = command("finetune ranker", self._workspace.root)
            return f"it was proven on other candidates than are found now; renew it: {again}"
        return ""

    @cached_property
    def _tuned(self) -> TunedRanker | None:
        return None if self._settings.ranking.ranker == OFF else self._models.tuned_ranker

    @cached_property
    def _gate(self) -> Gate | None:
        """What was proven of it here; None where nothing was."""
        return self._tuned.gate_in(self._workspace) if self._tuned else None

    @cached_property
    def _known(self) -> frozenset[str]:
        """The items that somebody had."""
        if self._warm is not None:
            return self._warm
        return frozenset(self._workspace.events().select("item_id").unique().collect(engine="streaming")["item_id"])
