"""What a person wants in the words of a catalog: items, facts and words, found for the phrases of an intent."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rapidfuzz import fuzz, process

from agent.evidence_finder import split_query
from agent.intent import Comparison, Intent
from retrieval.data.catalog import Attribute, Catalog
from retrieval.data.titles import TitleMatcher
from retrieval.errors import AmbiguousTitleError, UnknownItemError

SPELT_LIKE = 88.0  # how much alike a phrase and a value must be spelt
_TOLD = {"unlike": "not like", "want": "with", "avoid": "without"}
Kind = Literal["like", "unlike", "want", "avoid", "more", "less", "range"]


@dataclass(frozen=True)
class Wish:
    """One thing that a person wants, or does not: an item, a fact, a bound on a number, or words where it is none.

    said: the phrase, as the person put it.
    """

    kind: Kind
    said: str
    item_id: str = ""
    label: str = ""
    attribute: Attribute | None = None
    bound: Comparison | None = None

    def __str__(self) -> str:
        """As the person is told that it was understood."""
        if self.bound:
            return str(self.bound)
        what = self.label or (f"{self.attribute.field}: {self.attribute.value}" if self.attribute else f"“{self.said}”")
        return f"{_TOLD.get(self.kind, self.kind)} {what}"


@dataclass(frozen=True)
class Doubt:
    """A phrase that may mean several items; what may be asked back."""

    kind: Kind
    said: str
    message: str


class WishFinder:
    """Finds what the phrases of intents mean in one catalog."""

    def __init__(self, catalog: Catalog, titles: TitleMatcher):
        self._catalog = catalog
        self._titles = titles

    @cached_property
    def _attributes(self) -> dict[str, Attribute]:
        """By value in small letters, the first field that has it."""
        found: dict[str, Attribute] = {}
        for item_id in self._catalog.ids:
            for attribute in self._catalog.attributes(item_id):
                found.setdefault(attribute.value.casefold(), attribute)
        return found

    def find(self, intent: Intent) -> tuple[list[Wish], list[Doubt]]:
        """Wishes in the order of the intent's slots, and phrases that a person must be asked about."""
        wishes: list[Wish] = []
        doubts: list[Doubt] = []
        titles: tuple[Kind, ...] = ("like", "unlike")
        facts: tuple[Kind, ...] = ("want", "avoid", "more", "less")
        for kind in titles:
            for phrase in getattr(intent, kind):
                try:
                    wishes.append(self._item(kind, phrase))
                except AmbiguousTitleError as error:
                    doubts.append(Doubt(kind, phrase, str(error)))
                except UnknownItemError:
                    wishes += self._facts("want" if kind == "like" else "avoid", phrase)
        for kind in facts:
            wishes += [wish for phrase in getattr(intent, kind) for wish in self._facts(kind, phrase)]
        wishes += [Wish("range", str(bound), bound=bound) for bound in intent.range]
        return wishes, doubts

    def _item(self, kind: Kind, phrase: str) -> Wish:
        item_id = self._titles.find(phrase)
        return Wish(kind, phrase, item_id, self._catalog.label(item_id))

    def _facts(self, kind: Kind, phrase: str) -> list[Wish]:
        """The fact of that name; of several words those that are facts, and the others as words."""
        whole = self._fact(phrase)
        if whole:
            return [Wish(kind, phrase, attribute=whole)]
        words = phrase.split()
        facts = {word: fact for word in words if (fact := self._fact(word))}
        rest = " ".join(word for word in words if word not in facts)
        found = [Wish(kind, word, attribute=fact) for word, fact in facts.items()]
        return [*found, Wish(kind, rest)] if split_query(rest)[0] or not found else found

    def _fact(self, phrase: str) -> Attribute | None:
        plain = phrase.casefold().strip(" .,!?'\"")
        for form in (plain, plain.removesuffix("s"), plain.removesuffix("ies") + "y"):
            if form in self._attributes:
                return self._attributes[form]
        near = process.extractOne(plain, list(self._attributes), scorer=fuzz.ratio, score_cutoff=SPELT_LIKE)
        return self._attributes[near[0]] if near and len(plain) > 3 else None  # noqa: PLR2004 - shorter is chance


def dropped(wishes: Sequence[Wish], phrase: str) -> list[Wish]:
    """Those that a phrase takes back: that were said like it, mean what it names, or bound the number it names."""
    plain = phrase.casefold().strip(" .,!?'\"")
    return [wish for wish in wishes if any(_alike(plain, name) for name in _names(wish))]


def _names(wish: Wish) -> list[str]:
    names = [wish.said, wish.label]
    if wish.attribute:
        names += [wish.attribute.value, wish.attribute.field]
    if wish.bound:
        names.append(wish.bound.field)
    return [name.casefold() for name in names if name]


def _alike(plain: str, name: str) -> bool:
    return name in plain.split() or plain == name or fuzz.ratio(plain, name) >= SPELT_LIKE
