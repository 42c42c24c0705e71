"""From evidence to a sentence: planned from data, worded by the language model, checked by rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from agent.evidence import Evidence
from agent.models import Models
from agent.verifier import problems
from prompts import render, sentences
from retrieval.data.catalog import Catalog
from retrieval.errors import ModelError, WhyrecError

SAMPLES = 4


class UnsupportedExplanationError(WhyrecError):
    """Not even the template passes the verifier, which a title of odd characters could cause."""


@dataclass(frozen=True)
class Explanation:
    """A sentence that passed the verifier, who wrote it, and the evidence it states.

    rejected holds the drafts that did not pass, each with its reasons.
    """

    text: str
    written_by: Literal["lm", "template"]
    evidence: Evidence
    rejected: tuple[str, ...] = field(default=())


class Explainer:
    """Writes explanations for items of one catalog; ``writer`` chooses who words them."""

    def __init__(self, catalog: Catalog, models: Models, noun: str, writer: Literal["lm", "template"] = "lm"):
        self._models = models
        self._noun = noun
        self._writer = writer
        self._known_values = {a.value for item_id in catalog.ids for a in catalog.attributes(item_id)}

    def explain(self, evidence: Sequence[Evidence]) -> list[Explanation]:
        """One explanation for each piece of evidence: the likeliest draft that passes, else the template.

        Raises:
            ModelError: the language model is to write and cannot be loaded.
            UnsupportedExplanationError: neither a draft nor the template passes the verifier.
        """
        allowed = [tuple(_sentences(one)) for one in evidence]
        drafts = self._drafts(evidence, allowed) if self._writer == "lm" else [[] for _ in evidence]
        return [
            self._chosen(one, written, options[0])
            for one, written, options in zip(evidence, drafts, allowed, strict=True)
        ]

    def _drafts(self, evidence: Sequence[Evidence], allowed: list[tuple[str, ...]]) -> list[list[str]]:
        from finetune.writer import WritingRequest

        requests = [
            WritingRequest(_prompt(one, self._noun), options) for one, options in zip(evidence, allowed, strict=True)
        ]
        try:
            writer = self._models.writer
        except ModelError as error:
            raise ModelError(f"{error}; explanations from templates need no model: --writer template") from error
        return [[draft.text for draft in drafts] for drafts in writer.write(requests, SAMPLES)]

    def _chosen(self, evidence: Evidence, drafts: list[str], template: str) -> Explanation:
        rejected: list[str] = []
        for text in drafts:
            wrong = problems(text, evidence, self._known_values)
            if not wrong:
                return Explanation(text, "lm", evidence, tuple(rejected))
            rejected.append(f"{text} ({'; '.join(wrong)})")
        wrong = problems(template, evidence, self._known_values)
        if wrong:
            raise UnsupportedExplanationError(
                f"no explanation of {evidence.label!r} can be verified: {'; '.join(wrong)}"
            )
        return Explanation(template, "template", evidence, tuple(rejected))


def _sentences(evidence: Evidence) -> list[str]:
    return sentences(
        evidence.shape,
        ITEM=evidence.label,
        CITED=_joined([cited.label for cited in evidence.cited]),
        DID=evidence.did,
        COMMON=_common(evidence),
        WORDS=_joined(list(evidence.words)),
    )


def _prompt(evidence: Evidence, noun: str) -> str:
    words = "the words " + _joined(list(evidence.words)) if evidence.words else "nothing that can be named"
    return render(
        "explanation-v1",
        noun=noun,
        did=evidence.did,
        cited=_joined([cited.label for cited in evidence.cited]),
        query=evidence.query,
        item=evidence.label,
        common=_common(evidence) if evidence.attributes else words,
    )


def _common(evidence: Evidence) -> str:
    """``the genre Horror`` or ``the genres Horror and Sci-Fi``."""
    if not evidence.attributes:
        return ""
    name = evidence.attributes[0].field.replace("_", " ")
    if len(evidence.attributes) == 1 and name.endswith("s") and not name.endswith("ss"):
        name = "series" if name == "series" else name[:-1]
    return f"the {name} {_joined([a.value for a in evidence.attributes])}"


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
