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

        Each title to be like or unlike becomes the longest title of the catalog that stands around it in the utterance.
        """
        like, unlike = (
            dict.fromkeys(self._whole(phrase, said) for phrase in part) for part in (intent.like, intent.unlike)
        )
        return replace(intent, like=tuple(like), unlike=tuple(unlike))

    def _whole(self, phrase: str, said: str) -> str:
        words = [(match[0].casefold(), *match.span()) for match in _WORD.finditer(said)]
        spoken, part = tuple(word for word, _, _ in words), _words(phrase)
        begin = _place(spoken, part)
        if begin is None:
            return phrase
        end = begin + len(part)
        around = [
            (first, last)
            for first in range(max(0, end - LONGEST), begin + 1)
            for last in range(end, min(len(spoken), first + LONGEST) + 1)
            if spoken[first:last] in self._titles
        ]
        if not around:
            return phrase
        first, last = max(around, key=lambda span: span[1] - span[0])
        title = self._titles[spoken[first:last]]
        start, stop = words[first][1], words[last - 1][2]
        before, after = re.match(r"\W*", title), re.search(r"\W*$", title)  # as in 'night Mother, or Airplane!
        if before and said[:start].endswith(before[0]):
            start -= len(before[0])
        if after and said.startswith(after[0], stop):
            stop += len(after[0])
        return said[start:stop]


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _place(words: Sequence[str], part: Sequence[str]) -> int | None:
    """Where a part begins for the first time; None where it is nowhere, or empty."""
    places = range(len(words) - len(part) + 1) if part else ()
    return next((place for place in places if words[place : place + len(part)] == part), None)
