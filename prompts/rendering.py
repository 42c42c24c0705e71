"""Fill prompt templates, and spell out the sentences that explanations are made of."""

import itertools
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

_TEMPLATES = files("prompts") / "templates"
_SENTENCES = {"en": "", "zh": "-zh"}
_ALTERNATIVES = re.compile(r"\(([^()]*)\)")


class _PackagedTemplates(BaseLoader):
    def get_source(self, environment: Environment, template: str) -> tuple[str, str, None]:  # noqa: ARG002
        """Read one template of this package (jinja2's loader protocol)."""
        path = _TEMPLATES / f"{template}.jinja"
        if not path.is_file():
            raise TemplateNotFound(template)
        return path.read_text(encoding="utf-8"), template, None


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    loader=_PackagedTemplates(),
    undefined=StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
)


def render(template: str, **values: object) -> str:
    """Fill the template of that name, such as ``rank-prefix-v1``, and return the text.

    Serving, labelling and training all call this, so that they cannot drift apart. Values are inserted as
    they are and never read as template code.

    Raises:
        jinja2.TemplateNotFound: no such template.
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    return _ENVIRONMENT.get_template(template).render(**values)


@cache
def _tables(language: str) -> dict[str, dict[str, Any]]:
    text = (_TEMPLATES / f"explanation-sentences{_SENTENCES[language]}-v1.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def patterns(shape: str, language: str = "en") -> tuple[tuple[str, ...], ...]:
    """The sentences of one shape of evidence with their slots, by pattern, the plainest first.

    ``shape`` is a table of ``explanation-sentences-v1.toml``, or of its Chinese form for the language ``zh``.

    Raises:
        KeyError: an unknown shape.
    """
    return tuple(_spelt_out(pattern) for pattern in _tables(language)[shape]["patterns"])


def alternatives(shape: str) -> tuple[str, ...]:
    """The English patterns of one shape as they stand in the table, with ``(a|b)`` for alternatives.

    Raises:
        KeyError: an unknown shape.
    """
    return tuple(_tables("en")[shape]["patterns"])


def _spelt_out(pattern: str) -> tuple[str, ...]:
    pieces = _ALTERNATIVES.split(pattern)
    options = [piece.split("|") if odd else [piece] for odd, piece in zip(itertools.cycle([False, True]), pieces)]
    return tuple("".join(choice) for choice in itertools.product(*options))


@cache
def wordings(shape: str, language: str = "en") -> tuple[str, ...]:
    """All of these sentences, without duplicates."""
    return tuple(dict.fromkeys(sentence for every in patterns(shape, language) for sentence in every))


def free(shape: str) -> bool:
    """Whether parts of one sentence of this shape may be put together with parts of another."""
    return bool(_tables("en")[shape].get("free", False))


def shapes() -> tuple[str, ...]:
    """The shapes of evidence that there are sentences for."""
    return tuple(_tables("en"))


@cache
def phrasings() -> dict[str, dict[str, list[Any]]]:
    """How people say what they want (``intent-utterances-v1.toml``), by slot: what is tuned on, what is held out."""
    return tomllib.loads((_TEMPLATES / "intent-utterances-v1.toml").read_text(encoding="utf-8"))


@cache
def vocabulary() -> frozenset[str]:
    """All words of the English sentences themselves, in small letters, slots left out."""
    text = " ".join(sentence for shape in shapes() for sentence in wordings(shape))
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\[[A-Z]+\]", " ", text).lower()))


def fill(sentence: str, **slots: str) -> str:
    """A sentence with each ``[SLOT]`` replaced by its text, all at once, so that brackets in a text mean nothing.

    Raises:
        KeyError: a slot that was not given.
    """
    return re.sub(r"\[([A-Z]+)\]", lambda slot: slots[slot[1]], sentence)
