"""Why an item fits a person, as data: what they liked that is near to it, and what the two share."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from retrieval.data.catalog import Attribute, Catalog
from retrieval.ranking import Floats

Shape = Literal["cited-common", "cited", "words", "meaning", "unlinked"]
MOST_CITED = 2
MOST_ATTRIBUTES = 2
LOOKED_AT = 5
NEAR = 0.5
_WORD = re.compile(r"[^\W\d_]{3,}")
_COMMON_WORDS = frozenset(
    "about and any are but can could for from get give good great has have how into item like list liked look looking"
    " me more most movie movies film films game games book books my need not one please recommend show some something"
    " than that the their them then there these they this those to top too very want was what when which who why will"
    " with would you your".split()
)


@dataclass(frozen=True)
class Cited:
    """An item of the history that speaks for the recommended one; similarity is the cosine of their texts."""

    item_id: str
    label: str
    similarity: float


@dataclass(frozen=True)
class SharedAttribute:
    """A fact that the recommended item and every cited one have.

    specificity is ``log P(a | liked) / P(a | catalog)``: above 0 where the person likes it more than chance would.
    """

    field: str
    value: str
    specificity: float


@dataclass(frozen=True)
class Evidence:
    """All that an explanation may state.

    shape says which kind of sentence fits; did is what the person did with the cited items (liked, chose, preferred).
    """

    item_id: str
    label: str
    shape: Shape
    did: str
    cited: tuple[Cited, ...] = ()
    attributes: tuple[SharedAttribute, ...] = ()
    words: tuple[str, ...] = ()
    query: str = ""


@dataclass(frozen=True)
class Taste:
    """What is known of the person: liked items, what they did with those, and what they asked for in words."""

    liked: tuple[str, ...]
    did: str
    query: str = ""


class EvidenceFinder:
    """Finds evidence for items of one catalog; ``vectors`` gives the text vectors (n, d) of item ids."""

    def __init__(self, catalog: Catalog, vectors: Callable[[Sequence[str]], Floats]):
        self._catalog = catalog
        self._vectors = vectors
        self._count = Counter(a for item_id in catalog.ids for a in set(catalog.attributes(item_id)))

    def find(self, item_id: str, taste: Taste) -> Evidence:
        """The evidence for one item: words of the query that stand in its text, else the nearest liked items."""
        label = self._catalog.label(item_id)
        words = self._words(item_id, taste.query)
        if words:
            return Evidence(item_id, label, "words", taste.did, words=words, query=taste.query)
        liked = [other for other in taste.liked if other != item_id]
        if not liked:
            return Evidence(item_id, label, "meaning" if taste.query else "unlinked", taste.did, query=taste.query)
        cited, shared = self._nearest(item_id, liked)
        attributes = self._most_specific(shared, liked)
        if attributes:
            return Evidence(item_id, label, "cited-common", taste.did, cited, attributes, query=taste.query)
        if cited[0].similarity >= NEAR:
            return Evidence(item_id, label, "cited", taste.did, cited[:1], query=taste.query)
        shape: Shape = "meaning" if taste.query else "unlinked"
        return Evidence(item_id, label, shape, taste.did, query=taste.query)

    def _words(self, item_id: str, query: str) -> tuple[str, ...]:
        text = {word.casefold() for word in _WORD.findall(self._catalog.text(item_id))}
        asked = dict.fromkeys(word.casefold() for word in _WORD.findall(query))
        return tuple(word for word in asked if word in text and word not in _COMMON_WORDS)

    def _nearest(self, item_id: str, liked: list[str]) -> tuple[tuple[Cited, ...], list[Attribute]]:
        """The liked item nearest in text, and a second one near by that shares something with both."""
        vectors = self._vectors([item_id, *liked])
        similarity = dict(zip(liked, (vectors[1:] @ vectors[0]).tolist(), strict=True))
        near = sorted(liked, key=lambda other: (-similarity[other], other))[:LOOKED_AT]
        own = self._catalog.attributes(item_id)
        # Something shared is worth more than being nearest by a hair.
        first = next((other for other in near if self._shared(own, other)), near[0])
        shared, chosen = self._shared(own, first), [first]
        for other in near:
            if len(chosen) < MOST_CITED and other != first and self._shared(shared, other):
                shared = self._shared(shared, other)
                chosen.append(other)
        cited = tuple(Cited(other, self._catalog.label(other), round(similarity[other], 4)) for other in chosen)
        return cited, shared

    def _shared(self, attributes: list[Attribute], other: str) -> list[Attribute]:
        theirs = set(self._catalog.attributes(other))
        return [attribute for attribute in attributes if attribute in theirs]

    def _most_specific(self, shared: list[Attribute], liked: list[str]) -> tuple[SharedAttribute, ...]:
        in_liked = Counter(a for item_id in liked for a in set(self._catalog.attributes(item_id)))
        rated = [
            SharedAttribute(
                a.field,
                a.value,
                round(math.log((in_liked[a] / len(liked)) / (self._count[a] / len(self._catalog))), 4),
            )
            for a in shared
        ]
        best = sorted(rated, key=lambda a: (-a.specificity, a.value))[:MOST_ATTRIBUTES]
        # One field a sentence: "the genres Horror and Sci-Fi".
        return tuple(a for a in best if a.field == best[0].field)
