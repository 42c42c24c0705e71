"""The grammar of what may be written: known sentences, or what their words can be put together to."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

_PIECE = re.compile(r" ?\[[A-Z]+\]| ?[\w'’-]+| ?[^\w\s]")
BEFORE = 3  # words that a word depends on
ENDS = (".", "?")
START = ""


def grammar(sentences: Iterable[str], *, free: bool) -> str:
    """In llguidance's form of Lark, each sentence with a blank before it.

    What stands in a slot is not known here: each ``[SLOT]`` is one word. Where it is ``free``, a word may follow where
    it has followed the same three words, with the same slots out, in a sentence that began with the same word; a text
    may end where one has.
    """
    if not free:
        return "start: " + " | ".join(json.dumps(f" {sentence}") for sentence in sentences)
    follow: dict[tuple[str, ...], dict[str, tuple[str, ...] | None]] = defaultdict(dict)
    for sentence in sentences:
        pieces = split(sentence)
        for place, piece in enumerate(pieces):
            follow[_context(pieces[:place])][piece] = _context(pieces[: place + 1])
        follow[_context(pieces)][START] = None  # the end
    names = {context: f"s{number}" for number, context in enumerate(follow)}
    rules = [f"{names[context]}: {_choices(pieces, names)}" for context, pieces in follow.items()]
    return "\n".join([f"start: {names[_context([])]}", *rules])


def _choices(pieces: dict[str, tuple[str, ...] | None], names: dict[tuple[str, ...], str]) -> str:
    return " | ".join(
        '""' if context is None else f"{json.dumps(piece)} {names[context]}" for piece, context in pieces.items()
    )


def _context(pieces: Sequence[str]) -> tuple[str, ...]:
    """What the next word depends on: the slots that are out, the first word of its sentence, those right before it."""
    ends = [place for place, piece in enumerate(pieces) if piece in ENDS]
    sentence = pieces[ends[-1] + 1 :] if ends else pieces
    slots = sorted(piece for piece in pieces if "[" in piece)
    return (*slots, START, *sentence[:1], START, *pieces[-BEFORE:])


def split(sentence: str) -> list[str]:
    """The words, slots and marks of a sentence, each with the blank before it; joined they are the sentence again."""
    return _PIECE.findall(f" {sentence}")
