"""What may be written next: known sentences, or what their words can be put together to."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

BEFORE = 3  # words that a word depends on
ENDS = (".", "?")
_PIECE = re.compile(r" ?\[[A-Z]+\]| ?[\w'’-]+| ?[^\w\s]")
_SLOT = re.compile(r"\[[A-Z]+\]")
START, END = "", "\n"
LONGER = 4  # words more than the longest known sentence has


@dataclass(frozen=True)
class Place:
    """How far a sentence has come: its pieces, and the tokens of the next one that are there already."""

    pieces: tuple[str, ...] = ()
    begun: tuple[int, ...] = ()


class Wording:
    """The sentences that may be written: known ones, or, where it is ``free``, what can be put together from them.

    Then a word may follow where it has followed the same three words, in a sentence that began with the same word. What
    stands in a slot is not known here: each ``[SLOT]`` is one word, and none is written more often than in the known
    sentence that has it most often. A text ends where a known one has ended, once the slots that all have are out.
    """

    def __init__(self, sentences: Iterable[str], encode: Callable[[str], Sequence[int]], stop: int, *, free: bool):
        """encode: the tokens of a piece of text. stop: the token that ends a sentence."""
        self.stop = stop
        self._free = free
        self._next: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._most: Counter[str] = Counter()
        self._longest = 0
        needed: list[set[str]] = []
        self._longest = 0
        known = list(sentences)
        for sentence in known:
            pieces = split(sentence)
            self._longest = max(self._longest, len(pieces) + LONGER)
            slots = Counter(_slots(pieces))
            self._most |= slots
            needed.append(set(slots))
            for place, piece in enumerate([*pieces, END]):
                self._next[self._context(pieces[:place])].add(piece)
        self._needed = set.intersection(*needed)
        every = {piece for pieces in self._next.values() for piece in pieces if piece != END}
        self._ids = {piece: tuple(encode(piece)) for piece in every} | {END: (stop,)}
        most = max(len(self.tokens(sentence)) for sentence in known)
        self.longest = most + LONGER * max(map(len, self._ids.values()))  # tokens that no text has more of

    def _context(self, pieces: Sequence[str]) -> tuple[str, ...]:
        if not self._free:
            return tuple(pieces)
        ends = [place for place, piece in enumerate(pieces) if piece in ENDS]
        sentence = pieces[ends[-1] + 1 :] if ends else pieces
        return (*sentence[:1], START, *pieces[-BEFORE:])

    def _pieces(self, place: Place) -> list[str]:
        """What may stand next, whole; nothing where the sentence has come to a dead end."""
        if len(place.pieces) >= self._longest:
            return []
        used = Counter(_slots(place.pieces))
        found = []
        for piece in self._next[self._context(place.pieces)]:
            slots = _slots([piece])
            if all(used[slot] < self._most[slot] for slot in slots) and (piece != END or self._needed <= used.keys()):
                found.append(piece)
        return found

    def allowed(self, places: Iterable[Place]) -> set[int]:
        """The tokens that may come next, as far as the text could have been read in these ways."""
        found = set()
        for place in places:
            begun = len(place.begun)
            for piece in self._pieces(place):
                ids = self._ids[piece]
                if ids[:begun] == place.begun and len(ids) > begun:
                    found.add(ids[begun])
        return found

    def advance(self, places: Iterable[Place], token: int) -> frozenset[Place]:
        """The ways to read the text once this token has come; one ends where its tokens make up a piece."""
        found = set()
        for place in places:
            begun = (*place.begun, token)
            for piece in self._pieces(place):
                ids = self._ids[piece]
                if ids == begun:
                    found.add(Place((*place.pieces, piece)))
                elif ids[: len(begun)] == begun:
                    found.add(Place(place.pieces, begun))
        return frozenset(found)

    def tokens(self, sentence: str) -> list[int]:
        """A known sentence as it would be written, the end included."""
        return [token for piece in [*split(sentence), END] for token in self._ids[piece]]


def split(sentence: str) -> list[str]:
    """The words, slots and marks of a sentence, each with the space before it; joined they are the sentence again."""
    return _PIECE.findall(f" {sentence}")


def _slots(pieces: Iterable[str]) -> list[str]:
    return [found[0] for piece in pieces if (found := _SLOT.search(piece))]
