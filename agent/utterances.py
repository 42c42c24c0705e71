"""Utterances with the intents that they mean, made of phrasings, titles and attributes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agent.intent import LISTED, SEPARATOR, Comparison, Intent
from prompts import phrasings
from retrieval.data.catalog import Catalog
from retrieval.data.titles import said_title

Part = Literal["tuned", "held-out"]

YEAR = "year"
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")  # from 2 on
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
DECADES = ("fifties", "sixties", "seventies", "eighties", "nineties")  # from 1950 on
LONGEST_TITLE = 6  # words
ASKING, LOWERED = 0.12, 0.3  # shares of utterances
PARTS = (0.35, 0.35, 0.2, 0.1)  # shares of utterances of one part, two, three, four
MOODS, SHORT, DIGITS = 0.4, 0.6, 0.5  # of attributes; of decades, without the century; of counts
_WEIGHTS = "like 5, like-both 1, unlike 2, want 4, avoid 3, more 2, less 2, drop 2, range 4, count 2"
WEIGHTS = {name: float(weight) for name, weight in (one.split() for one in _WEIGHTS.split(", "))}
OPENED = ("like", "like-both", "want")  # parts that an opener may stand before
_SLOT = re.compile(r"\[([A-Z])\]")
_EITHER = re.compile(r"\(([^()]*\|[^()]*)\)")


@dataclass(frozen=True)
class Words:
    """Titles and attributes of a catalog that utterances name."""

    titles: Sequence[str]
    attributes: Sequence[str]

    @classmethod
    def of(cls, catalog: Catalog, part: Part) -> "Words":
        """Titles of half of the items, the others for what is held out; all attributes."""
        ids = sorted(catalog.ids)[0 if part == "tuned" else 1 :: 2]
        titles = (said_title(catalog, item_id) for item_id in ids)
        kept = [title for title in titles if len(title.split()) <= LONGEST_TITLE and not set(title) & set(";[]–…")]
        values = {a.value.casefold() for item_id in catalog.ids for a in catalog.attributes(item_id)}
        return cls(kept, sorted(value for value in values if re.fullmatch(r"[\w' -]+", value)))


class UtteranceMaker:
    """Makes utterances of the phrasings that are tuned on, or of those that are held out."""

    def __init__(self, words: Words, part: Part):
        self._words = words
        self._part = part

    def make(self, rng: np.random.Generator) -> tuple[str, str]:
        """What is said, and the lines of the intent that is meant by it, in the same order."""
        said, lines = self._asked(rng) if rng.random() < ASKING else self._wished(rng)
        return (said.lower(), lines.lower()) if rng.random() < LOWERED else (said, lines)

    def _asked(self, rng: np.random.Generator) -> tuple[str, str]:
        place = int(rng.integers(1, len(ORDINALS) + 1))
        said = self._drawn(rng, "ask").replace("[P]", str(place)).replace("[O]", ORDINALS[place - 1])
        return _upper(said, Intent()), str(Intent(ask=place))

    def _wished(self, rng: np.random.Generator) -> tuple[str, str]:
        names, weights = list(WEIGHTS), np.array(list(WEIGHTS.values()))
        count = 1 + int(rng.choice(len(PARTS), p=PARTS))
        drawn = [names[place] for place in rng.choice(len(names), count, replace=False, p=weights / weights.sum())]
        said, lines = "", ""
        for number, name in enumerate(drawn):
            text, meant = self._said(rng, name)
            lines += f"{meant}\n"
            if number == 0:
                opened = name in OPENED and text[0].islower()
                said = (self._drawn(rng, "openers") if opened else "") + text
            else:
                joint = self._drawn(rng, "joints")
                said += joint + (_upper(text, meant) if joint.startswith((".", "?", "!")) else text)
        closer = "" if said.endswith("?") else self._drawn(rng, "closers")
        return _upper(said, Intent.read(lines)) + closer, lines.rstrip()

    def _said(self, rng: np.random.Generator, name: str) -> tuple[str, Intent]:
        """One part, and its meaning."""
        if name == "range":
            return self._bounds(rng)
        text = self._drawn(rng, name)
        if name == "count":
            number = int(rng.integers(2, 2 + len(NUMBERS)))
            said = NUMBERS[number - 2] if rng.random() >= DIGITS else str(number)
            return text.replace("[N]", said), Intent(count=number)
        phrases = [self._phrase(rng, kind) for kind in _SLOT.findall(text)]
        there = iter(phrases)
        meant: dict[str, Any] = {name.removesuffix("-both"): tuple(phrases)}
        return _SLOT.sub(lambda _: next(there), text), Intent(**meant)

    def _phrase(self, rng: np.random.Generator, kind: str) -> str:
        if kind == "T":
            return str(rng.choice(self._words.titles))
        moods = phrasings()["moods"][self._part]
        either = moods if rng.random() < MOODS or not self._words.attributes else self._words.attributes
        return str(rng.choice(either))

    def _bounds(self, rng: np.random.Generator) -> tuple[str, Intent]:
        one = self._drawn(rng, "range")
        decade = int(rng.integers(len(DECADES)))
        first, year = 1950 + 10 * decade, int(rng.integers(1930, 2017))
        later = year + int(rng.integers(1, 15))
        means = one["means"].replace("[year]", YEAR).replace("[D+9]", str(first + 9)).replace("[D]", str(first))
        means = means.replace("[Y]", str(year)).replace("[Z]", str(later))
        meant = Intent(range=tuple(Comparison.read(part) for part in means.split(SEPARATOR)))
        digits = str(first)[2:] if rng.random() < SHORT else str(first)
        said = _chosen(rng, str(one["said"])).replace("[D]", digits).replace("[W]", DECADES[decade])
        return said.replace("[Y]", str(year)).replace("[Z]", str(later)), meant

    def _drawn(self, rng: np.random.Generator, slot: str) -> Any:
        every = phrasings()[slot][self._part]
        one = every[rng.integers(len(every))]
        return _chosen(rng, one) if isinstance(one, str) else one


def _chosen(rng: np.random.Generator, text: str) -> str:
    """With one of each ``(a|b)``."""
    return _EITHER.sub(lambda either: str(rng.choice(either[1].split("|"))), text)


def _upper(text: str, meant: Intent) -> str:
    """With a capital, where no phrase stands at the beginning, which is meant as it is said."""
    phrases = tuple(phrase for slot in LISTED for phrase in getattr(meant, slot))
    return text if phrases and text.startswith(phrases) else text[:1].upper() + text[1:]
