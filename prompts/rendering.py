"""Fill prompt templates, and spell out the sentences an explanation may be written in."""

import itertools
import re
import tomllib
from functools import cache
from importlib.resources import files

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
def _patterns(language: str) -> dict[str, list[str]]:
    text = (_TEMPLATES / f"explanation-sentences{_SENTENCES[language]}-v1.toml").read_text(encoding="utf-8")
    return {shape: table["patterns"] for shape, table in tomllib.loads(text).items()}


@cache
def _expanded(shape: str, language: str) -> tuple[str, ...]:
    sentences_of_shape: dict[str, None] = {}
    for pattern in _patterns(language)[shape]:
        pieces = _ALTERNATIVES.split(pattern)
        options = [piece.split("|") if odd else [piece] for odd, piece in zip(itertools.cycle([False, True]), pieces)]
        sentences_of_shape |= dict.fromkeys("".join(choice) for choice in itertools.product(*options))
    return tuple(sentences_of_shape)


@cache
def vocabulary() -> frozenset[str]:
    """All words of the English sentences themselves, in small letters, slots left out."""
    text = " ".join(sentence for shape in _patterns("en") for sentence in _expanded(shape, "en"))
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\[[A-Z]+\]", " ", text).lower()))


def sentences(shape: str, language: str = "en", **slots: str) -> list[str]:
    """All sentences of one shape of evidence, slots filled, the plainest first, without duplicates.

    ``shape`` is a table of ``explanation-sentences-v1.toml``, or of its Chinese form for the language ``zh``; ``slots``
    gives a text for each ``[SLOT]`` in it. Slot texts are inserted last and literally, so brackets and bars in a title
    mean nothing.

    Raises:
        KeyError: an unknown shape, or a slot of the pattern that was not given.
    """
    return [re.sub(r"\[([A-Z]+)\]", lambda slot: slots[slot[1]], sentence) for sentence in _expanded(shape, language)]
