"""What the parts promise each other. All take batches; a single request is a batch of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from retrieval.ranking import Floats, Rankings


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on, in hexadecimal digits."""
        ...

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32, each row of length 1, 0 where a text says nothing; no texts give (0, d)."""
        ...


@dataclass(frozen=True)
class RankRequest:
    """Items to put in order for one person.

    history: texts of liked items, oldest first. candidates, texts: ids and texts of what is to be ordered. query: what
    the person asked for in words, or "".
    """

    history: tuple[str, ...]
    candidates: tuple[str, ...]
    texts: tuple[str, ...]
    query: str = ""

    def __post_init__(self) -> None:
        if len(self.candidates) != len(self.texts) or len(set(self.candidates)) != len(self.candidates):
            raise ValueError("a request has each candidate once, with one text each")


class Ranker(Protocol):
    """Orders candidates; the order in which they are given makes no difference."""

    def rank(self, requests: Sequence[RankRequest], k: int | None = None) -> Rankings:
        """At most k candidates of each request, all when k is None, best first."""
        ...


class Judge(Protocol):
    """Scores candidates one by one: the higher, the likelier the person likes it."""

    def score(self, requests: Sequence[RankRequest]) -> list[Floats]:
        """For each request (N,) float32, in the order of its candidates."""
        ...
