"""From evidence to a sentence: planned from data, worded by the language model, checked by rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.evidence import Evidence
from agent.models import Models
from agent.request import Language
from agent.verifier import problems
from prompts import render, sentences
from retrieval.data.catalog import Catalog
from retrieval.errors import ModelError

SAMPLES = 4
DETAILED = ("cited-common", "together")  # shapes that have a number to tell
CHINESE = {"liked": "喜欢", "chose": "选择", "preferred": "偏爱", "rated": "评价"}
OFTEN = 1.5  # times as often as by chance, from which on it is told


@dataclass(frozen=True)
class Explanation:
    """A sentence that passed the verifier, who wrote it, and the evidence it states."""

    text: str
    written_by: Literal["lm", "template"]
    evidence: Evidence


class Explainer:
    """Writes explanations for items of one catalog; ``writer`` chooses who words them."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        noun: str,
        writer: Literal["lm", "template"] = "lm",
        language: Language = "en",
    ):
        """``language``: of the sentences; the language model writes English alone."""
        if writer == "lm" and language != "en":
            raise ValueError(f"the language model does not write {language!r}")
        self._models = models
        self._noun = noun
        self._writer = writer
        self._language = language
        self._known_values = {a.value for item_id in catalog.ids for a in catalog.attributes(item_id)}

    def explain(self, evidence: Sequence[Evidence], *, detailed: bool = False) -> list[Explanation | None]:
        """For each piece of evidence the likeliest draft that passes the verifier, else the template, else None.

        detailed: say how many times as often as by chance, too, where it is often. None is for evidence that no
        sentence can state, as with a title that holds brackets in odd places.

        Raises:
            ModelError: the language model is to write and cannot be loaded.
        """
        allowed = [tuple(_sentences(one, self._language, detailed=detailed)) for one in evidence]
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

    def _chosen(self, evidence: Evidence, drafts: list[str], template: str) -> Explanation | None:
        for text in drafts:
            if not problems(text, evidence, self._known_values, self._language):
                return Explanation(text, "lm", evidence)
        if problems(template, evidence, self._known_values, self._language):
            return None
        return Explanation(template, "template", evidence)


def _sentences(evidence: Evidence, language: Language = "en", *, detailed: bool = False) -> list[str]:
    in_detail = detailed and evidence.shape in DETAILED and evidence.frequency >= OFTEN
    english, cited = language == "en", [cited.label for cited in evidence.cited]
    return sentences(
        f"{evidence.shape}-detailed" if in_detail else evidence.shape,
        language,
        ITEM=evidence.label,
        CITED=_joined(cited) if english else " 和 ".join(cited),
        DID=evidence.did if english else CHINESE[evidence.did],
        COMMON=evidence.common if english else evidence.values,
        WORDS=_quoted(evidence.words) if english else "、".join(f"“{word}”" for word in evidence.words),
        PEOPLE=f"{evidence.people:,}",
        LIKED=evidence.they if english else CHINESE[evidence.they],
        OTHER=evidence.other,
        TIMES=f"{evidence.frequency:.1f}",
        FIRST=evidence.attributes[0].value if evidence.attributes else "",
    )


def _prompt(evidence: Evidence, noun: str) -> str:
    words = f"the words {_quoted(evidence.words)}" if evidence.words else "nothing that can be named"
    if evidence.people:
        words = f"{evidence.people:,} people who {evidence.they} {'both' if evidence.cited else 'it'}"
    return render(
        "explanation-v1",
        noun=noun,
        did=evidence.did,
        cited=_joined([cited.label for cited in evidence.cited]),
        query=evidence.query,
        item=evidence.label,
        common=evidence.common or words,
    )


def _quoted(words: Sequence[str]) -> str:
    return _joined([f"“{word}”" for word in words])


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
