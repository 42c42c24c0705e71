"""What can be asked of the recommender, and what it answers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from retrieval.data.events import History
from retrieval.shaping import PLAIN, Shaping

if TYPE_CHECKING:
    from agent.explanation import Explanation

Mode = Literal["fast", "retrieval", "auto", "full"]
Style = Literal["short", "detailed", "contrast"]
Language = Literal["en", "zh"]
Writer = Literal["lm", "lm-zero-shot", "template"]
Stage = Literal["retrieve", "rank", "fuse", "shape", "explain"]


@dataclass(frozen=True)
class Request:
    """Whom to recommend for, and how.

    At least one of user or history, likes (titles or ids) and query is needed; a history stands in for that of the
    user. mode: ``fast`` is the student's (`agent.fast`). ``among`` are the only ids that may be recommended, None for
    all. ``alpha`` None means what the gate has proven. style, writer, language: of explanations; ``detailed`` says how
    often, ``contrast`` what the next item of the list lacks, each where the data have it; ``lm-zero-shot`` is the
    language model as it came, for comparison; the model writes English alone. pin, ban: titles or ids of items that
    stand first in this order, whatever ``where`` says, and of items that never do; what a user disliked or hid cannot
    be pinned. Without ``exclude_never`` the list may hold it, to be compared.
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
    writer: Writer = "lm"
    history: History | None = None
    among: frozenset[str] | None = None
    style: Style = "short"
    language: Language = "en"
    shaping: Shaping = PLAIN
    pin: tuple[str, ...] = ()
    ban: tuple[str, ...] = ()
    exclude_never: bool = True

    @property
    def nothing_to_go_on(self) -> str:
        """What to say where neither the history nor the request tells what to look for."""
        if self.user is None:
            return "nothing to go on: give a USER, --like TITLE or --query WORDS"
        return f"nothing to go on: {self.user!r} has said only what not to recommend; add --like TITLE"


@dataclass(frozen=True)
class Recommended:
    """One row: the item, its place (from 1), the score that gave the place, and what each stage contributed.

    stages: ``retrieve``, the text's score; one for each scorer that was fused, by its name; ``rank``, the language
    model's; ``fuse``, what they were put together to; one for each step that shaped the list (`retrieval.shaping`). by:
    those that had a say, ``explore`` where it lifted the item, and for a pinned one ``pin`` alone. score is None where
    nothing was ranked.
    """

    place: int
    item_id: str
    label: str
    score: float | None
    stages: dict[str, float]
    by: tuple[str, ...] = ()
    explanation: "Explanation | None" = None


@dataclass
class Answer:
    """Rows, best first; notes say what was done differently from what one may expect; seconds by stage."""

    rows: list[Recommended]
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add how long the block takes to what the stage has taken."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def as_row(row: Recommended) -> dict[str, Any]:
    """A row as plain data; what was not asked for is left out."""
    data: dict[str, Any] = {"place": row.place, "item_id": row.item_id, "title": row.label}
    if row.by:
        data["score"] = None if row.score is None else round(row.score, 6)
        data["by"] = list(row.by)
        data["stages"] = {stage: round(score, 6) for stage, score in row.stages.items()}
    if row.explanation is not None:
        data["explanation"] = row.explanation.text
        data["written_by"] = row.explanation.written_by
        data["evidence"] = asdict(row.explanation.evidence)
    return data
