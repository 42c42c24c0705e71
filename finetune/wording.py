"""What is asked of a writer, and the grammar of what may be written: known sentences, or what their words make."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

_PIECE = re.compile(r" ?\[[A-Z]+\]| ?[\w'’-]+| ?[^\w\s]")
BEFORE = 3  # words that a word depends on
ENDS = (".", "?")
START = ""
Context = tuple[str, ...]


@dataclass(frozen=True)
class WritingRequest:
    """A shape of evidence (`prompts.sentences`), and what tells this request from others of the shape."""

    shape: str
    seed: str


@dataclass(frozen=True)
class Draft:
    """A sentence with slots, and the logarithm of the model's probability of writing it rather than another."""

    text: str
    log_probability: float


class SentenceWriter(Protocol):
    """Writes sentences with slots."""

    def write(self, requests: Sequence[WritingRequest], samples: int) -> list[list[Draft]]:
        """At most ``samples`` different drafts for each request, likeliest first."""
        ...


def grammar(sentences: Iterable[str], *, free: bool) -> str:
    """In llguidance's form of Lark, each sentence with a blank before it.

    What stands in a slot is not known here: each ``[SLOT]`` is one word. Where it is ``free``, a word may follow where
    it has followed the same three words, with the same slots out, in a sentence that began with the same word; a text
    may end where one has.
    """
    if not free:
        return "start: " + " | ".join(json.dumps(f" {sentence}") for sentence in sentences)
    follow = _follow(sentences)
    names = {context: f"s{number}" for number, context in enumerate(follow)}
    rules = [f"{names[context]}: {_choices(pieces, names)}" for context, pieces in follow.items()]
    return "\n".join([f"start: {names[_context([])]}", *rules])


def fitting(sentences: Sequence[str], *, free: bool) -> Callable[[str], bool]:
    """Tells whether the grammar of these sentences allows another: for writers that cannot be held to it."""
    if not free:
        return frozenset(sentences).__contains__
    follow = _follow(sentences)

    def fits(sentence: str) -> bool:
        pieces = split(sentence)
        steps = [(_context(pieces[:place]), piece) for place, piece in enumerate([*pieces, START])]
        return "".join(pieces) == f" {sentence}" and all(piece in follow.get(context, ()) for context, piece in steps)

    return fits


def _follow(sentences: Iterable[str]) -> dict[Context, dict[str, Context | None]]:
    """What may come next, and what the one after that depends on; None after the end."""
    follow: dict[Context, dict[str, Context | None]] = defaultdict(dict)
    for sentence in sentences:
        pieces = split(sentence)
        for place, piece in enumerate(pieces):
            follow[_context(pieces[:place])][piece] = _context(pieces[: place + 1])
        follow[_context(pieces)][START] = None
    return dict(follow)


def _choices(pieces: dict[str, Context | None], names: dict[Context, str]) -> str:
    return " | ".join(
        '""' if context is None else f"{json.dumps(piece)} {names[context]}" for piece, context in pieces.items()
    )


def _context(pieces: Sequence[str]) -> Context:
    """What the next word depends on: the slots that are out, the first word of its sentence, those right before it."""
    ends = [place for place, piece in enumerate(pieces) if piece in ENDS]
    sentence = pieces[ends[-1] + 1 :] if ends else pieces
    slots = sorted(piece for piece in pieces if "[" in piece)
    return (*slots, START, *sentence[:1], START, *pieces[-BEFORE:])


def split(sentence: str) -> list[str]:
    """The words, slots and marks of a sentence, each with the blank before it; joined they are the sentence again."""
    return _PIECE.findall(f" {sentence}")
