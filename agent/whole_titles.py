"""Titles as they stand in an utterance: where a phrase is a part of one there, the whole is meant."""

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.intent import Intent
from retrieval.data.catalog import Catalog
from retrieval.data.titles import said_title

LONGEST = 16  # words of a title that is looked for
_WORD = re.compile(r"\w+")


class WholeTitles:
    """Knows the titles of a catalog by their words, without regard to case and punctuation."""

    def __init__(self, catalog: Catalog):
        titles = (said_title(catalog, item_id) for item_id in catalog.ids)
        self._titles = {_words(title): title for title in titles}

    def mended(self, intent: Intent, said: str) -> Intent:
        """The intent of an utterance in which titles that were cut, as "Thunderbolt" and "Lightfoot" may be, are whole.

        Each title to be like or unlike becomes the longest title of the catalog that stands around it in the utterance,
        unless it is also there by itself.
        """
        like, unlike = (
            dict.fromkeys(self._whole(phrase, said) for phrase in part) for part in (intent.like, intent.unlike)
        )
        return replace(intent, like=tuple(like), unlike=tuple(unlike))

    def _whole(self, phrase: str, said: str) -> str:
        """The phrase, where it stands somewhere by itself, else the shortest of the titles that it is a part of."""
        words = [(match[0].casefold(), *match.span()) for match in _WORD.finditer(said)]
        spoken, part = tuple(word for word, _, _ in words), _words(phrase)
        around = [self._around(spoken, place, place + len(part)) for place in _places(spoken, part)]
        if not around or None in around:
            return phrase
        first, last = min((span for span in around if span), key=_length)
        title = self._titles[spoken[first:last]]
        start, stop = words[first][1], words[last - 1][2]
        before, after = re.match(r"\W*", title), re.search(r"\W*$", title)  # as in 'night Mother, or Airplane!
        if before and said[:start].endswith(before[0]):
            start -= len(before[0])
        if after and said.startswith(after[0], stop):
            stop += len(after[0])
        return said[start:stop]

    def _around(self, spoken: tuple[str, ...], begin: int, end: int) -> tuple[int, int] | None:
        """The longest title that has the words from ``begin`` to ``end`` in it."""
        spans = (
            (first, last)
            for first in range(max(0, end - LONGEST), begin + 1)
            for last in range(end, min(len(spoken), first + LONGEST) + 1)
            if spoken[first:last] in self._titles
        )
        return max(spans, key=_length, default=None)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _places(words: Sequence[str], part: Sequence[str]) -> list[int]:
    """Where a part begins; nowhere if it is empty."""
    places = range(len(words) - len(part) + 1) if part else ()
    return [place for place in places if words[place : place + len(part)] == part]


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]
