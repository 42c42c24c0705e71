"""What a person means by an utterance, as data: what the list should have, what it should lack, and what they ask."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

LISTED = ("like", "unlike", "want", "avoid", "more", "less", "drop")  # slots of phrases, as they were said
SEPARATOR = "; "
_COMPARISON = re.compile(r"(\S+) (>=|<=|>|<|=) (-?\d+(?:\.\d+)?)")
_ASK = re.compile(r"why (\d+)")


@dataclass(frozen=True)
class Comparison:
    """A bound on a field of numbers, as in ``--where``: ``year >= 1990``."""

    field: str
    operator: str
    value: float

    def __str__(self) -> str:
        return f"{self.field} {self.operator} {self.value:g}"

    @classmethod
    def read(cls, text: str) -> Self:
        """From what `__str__` gives.

        Raises:
            ValueError: it is none.
        """
        match = _COMPARISON.fullmatch(text)
        if match is None:
            raise ValueError(f"no comparison: {text[:100]!r}")
        return cls(match[1], match[2], float(match[3]))


@dataclass(frozen=True)
class Intent:
    """Phrases are as the person said them; what they mean in a catalog is found later (`agent.conversation`).

    like, unlike: titles. want, avoid: attributes or moods that must or must not be there. more, less: those that should
    count more or less than now. drop: what was said before and no longer holds. range: bounds on numbers. count: how
    many items. ask: the place in the last list whose reason is asked for.
    """

    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    want: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    range: tuple[Comparison, ...] = ()
    count: int | None = None
    ask: int | None = None

    def __str__(self) -> str:
        """A line for each phrase with its slot (``Alien; like``), for the bounds, the count and the question.

        It is what a language model writes, which does so in the order of what was said.
        """
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for slot in LISTED:
            yield from (f"{phrase}{SEPARATOR}{slot}" for phrase in getattr(self, slot))
        if self.range:
            yield f"range: {SEPARATOR.join(map(str, self.range))}"
        if self.count is not None:
            yield f"count: {self.count}"
        if self.ask is not None:
            yield f"ask: why {self.ask}"

    @classmethod
    def read(cls, text: str) -> Self:
        """From what `__str__` gives, in any order; of two counts or questions the last one holds.

        Raises:
            ValueError: a line is none of these.
        """
        found: dict[str, Any] = {}
        for line in text.strip().splitlines():
            phrase, _, slot = line.rpartition(SEPARATOR)
            name, _, value = line.partition(": ")
            if slot in LISTED and phrase:
                found[slot] = (*found.get(slot, ()), phrase)
            elif name == "range":
                bounds = (Comparison.read(part) for part in value.split(SEPARATOR))
                found["range"] = (*found.get("range", ()), *bounds)
            elif name == "count" and value.isdecimal():
                found["count"] = int(value)
            elif name == "ask" and (match := _ASK.fullmatch(value)):
                found["ask"] = int(match[1])
            else:
                raise ValueError(f"no slot of an intent: {line[:100]!r}")
        return cls(**found)

    def slots(self) -> dict[str, frozenset[str]]:
        """What each slot holds, without regard to case and order: what two intents are compared by."""
        found: dict[str, frozenset[str]] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            found[one.name] = frozenset(str(part).casefold() for part in values)
        return found
