"""Why an item fits a person, as data: what they liked that speaks for it, and what the two share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from retrieval.data.events import History
from retrieval.ranking import Floats

Shape = Literal[
    "cited-common", "contrast", "together", "cited", "words", "meaning", "far", "popular", "new", "unlinked"
]
_SINGULAR_ALREADY = ("ss", "us", "is", "series", "species")


@dataclass(frozen=True)
class Cited:
    """An item of the history that speaks for the recommended one: without it, the score would be less by ``effect``.

    similarity is the cosine of their texts.
    """

    item_id: str
    label: str
    similarity: float
    effect: float


@dataclass(frozen=True)
class SharedAttribute:
    """A fact that the recommended item and every cited one have.

    specificity is ``log P(a | liked) / P(a | catalog)``, above 0: the person likes it more often than chance would.
    """

    field: str
    value: str
    specificity: float


@dataclass(frozen=True)
class Evidence:
    """All that an explanation may state.

    shape says which kind of sentence fits; did is what the person did with the cited items (liked, chose, preferred,
    rated). people: how many liked the item and, where one is cited, that one too; they: what that is called; times: how
    many times as many as chance would have. other: what the item is contrasted with, which has none of the attributes.
    """

    item_id: str
    label: str
    shape: Shape
    did: str
    cited: tuple[Cited, ...] = ()
    attributes: tuple[SharedAttribute, ...] = ()
    words: tuple[str, ...] = ()
    query: str = ""
    people: int = 0
    they: str = "liked"
    times: float = 0.0
    other: str = ""

    @property
    def frequency(self) -> float:
        """How many times as often as by chance: the first attribute among what the person liked, else both items."""
        return math.exp(self.attributes[0].specificity) if self.attributes else self.times

    @property
    def common(self) -> str:
        """The attributes in words: ``the genre Horror``, ``the genres Horror and Sci-Fi``, or nothing."""
        if not self.attributes:
            return ""
        name = self.attributes[0].field.replace("_", " ")
        if len(self.attributes) == 1 and is_plural(name):
            name = name[:-3] + "y" if name.endswith("ies") else name[:-1]
        return f"the {name} {' and '.join(attribute.value for attribute in self.attributes)}"

    @property
    def values(self) -> str:
        """The attributes' values alone: ``Horror、Sci-Fi``."""
        return "、".join(attribute.value for attribute in self.attributes)


@dataclass(frozen=True)
class Taste:
    """What is known of the person.

    liked: items to go by, oldest first, each with what the person did with it. query: what they asked for in words,
    and its vector (d,), of length 1. history: all that they did, those items among it.
    """

    liked: Mapping[str, str]
    query: str = ""
    query_vector: Floats | None = field(default=None, compare=False)
    history: History = History((), ())  # noqa: RUF009 - it cannot be changed


def is_plural(name: str) -> bool:
    """Whether a field is called by its plural, as ``genres``."""
    return name.endswith("s") and not name.endswith(_SINGULAR_ALREADY)
