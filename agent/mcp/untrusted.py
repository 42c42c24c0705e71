"""Texts of the catalog and of users on their way to another agent: data, whatever they say."""

import json
import unicodedata
from functools import singledispatch
from typing import Any

_BLANKS = ("Cc", "Zl", "Zp")  # controls, and ends of lines and paragraphs
_NOTHING = ("Cf", "Co", "Cs")  # invisible signs, private ones, halves of surrogates
_JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji are misspelt without them


@singledispatch
def cleaned(value: Any) -> Any:
    """The same JSON data, each text in one line and without signs that a reader does not see.

    A control character, such as a terminal's escape, becomes a blank; what hides text or turns its direction is left
    out. What words say stays, be it an instruction or HTML.
    """
    return value


@cleaned.register
def _(value: str) -> str:
    if value.isprintable():
        return value
    return "".join(map(_seen, value)).strip()


@cleaned.register(list)
@cleaned.register(tuple)
def _(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    return [cleaned(one) for one in value]


@cleaned.register
def _(value: dict) -> dict[str, Any]:  # type: ignore[type-arg]
    return {name: cleaned(one) for name, one in value.items()}


def quoted(text: str) -> str:
    """The text in quotes that nothing in it can end."""
    return json.dumps(text, ensure_ascii=False)


def _seen(letter: str) -> str:
    kind = unicodedata.category(letter)
    if kind in _BLANKS:
        return " "
    return "" if kind in _NOTHING and letter not in _JOINERS else letter
