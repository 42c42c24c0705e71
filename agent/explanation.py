"""From evidence to a sentence: planned from data, worded by the language model, checked by rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.evidence import Evidence
from agent.models import Models
from agent.request import Language, Writer
from agent.verifier import problems
from finetune.wording import WritingRequest
from prompts import fill, wordings
from retrieval.data.catalog import Catalog
from retrieval.errors import ModelError

SAMPLES = 2
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
        writer: Writer = "lm",
        language: Language = "en",
    ):
        """``language``: of the sentences; the language model writes English alone."""
        if writer != "template" and language != "en":
            raise ValueError(f"the language model does not write {language!r}")
        self._models = models
        self._noun = noun
        self._writer = writer
        self._language = language
        self._known_values = {a.value for item_id in catalog.ids for a in catalog.attributes(item_id)}

    def explain(self, evidence: Sequence[Evidence], *, detailed: bool = False) -> list[Explanation | None]:
        """For each piece of evidence the likeliest draft that passes the verifier, else the template, else None.

        A wording that another of them has is taken last. detailed: say how many times as often as by chance, too, where
        it is often. None is for evidence that no sentence can state, as with a title that holds brackets in odd places.

        Raises:
            ModelError: the language model is to write and cannot be loaded.
        """
        shapes = [shape_of(one, detailed=detailed) for one in evidence]
        drafts = [[] for _ in evidence] if self._writer == "template" else self._drafts(evidence, shapes)
        used: set[str] = set()
        found = []
        for one, shape, written in zip(evidence, shapes, drafts, strict=True):
            chosen, wording = self._chosen(one, shape, sorted(written, key=used.__contains__))
            used.add(wording)
            found.append(chosen)
        return found

    def _drafts(self, evidence: Sequence[Evidence], shapes: Sequence[str]) -> list[list[str]]:
        """For each of them sentences with slots, likeliest first."""
        requests = [
            WritingRequest(shape, "\n".join([one.label, *(cited.label for cited in one.cited)]))
            for one, shape in zip(evidence, shapes, strict=True)
        ]
        try:
            writer = self._models.writer if self._writer == "lm" else self._models.untuned_writer
            written = writer.write(requests, SAMPLES)
        except ModelError as error:
            raise ModelError(f"{error}; explanations from templates need no model: --writer template") from error
        return [[draft.text for draft in drafts] for drafts in written]

    def _chosen(self, evidence: Evidence, shape: str, drafts: Sequence[str]) -> tuple[Explanation | None, str]:
        """The first of the drafts that passes, else the template, else None; and its wording."""
        slots = slots_of(evidence, self._noun, self._language)
        written: list[tuple[str, Literal["lm", "template"]]] = [(draft, "lm") for draft in drafts]
        for wording, by in [*written, (wordings(shape, self._language)[0], "template")]:
            text = fill(wording, **slots)
            if not problems(text, evidence, self._known_values, self._language, self._noun):
                return Explanation(text, by, evidence), wording
        return None, ""


def shape_of(evidence: Evidence, *, detailed: bool = False) -> str:
    """What kind of sentence states it (`prompts.wordings`)."""
    in_detail = detailed and evidence.shape in DETAILED and evidence.frequency >= OFTEN
    return f"{evidence.shape}-detailed" if in_detail else evidence.shape


def slots_of(evidence: Evidence, noun: str = "item", language: Language = "en") -> dict[str, str]:
    """What stands in each slot of a sentence."""
    english, cited = language == "en", [cited.label for cited in evidence.cited]
    return {
        "NOUN": noun,
        "ITEM": evidence.label,
        "CITED": _joined(cited) if english else " 和 ".join(cited),
        "DID": evidence.did if english else CHINESE[evidence.did],
        "COMMON": evidence.common if english else evidence.values,
        "WORDS": _joined([f"“{word}”" for word in evidence.words])
        if english
        else "、".join(f"“{word}”" for word in evidence.words),
        "PEOPLE": f"{evidence.people:,}",
        "LIKED": evidence.they if english else CHINESE[evidence.they],
        "OTHER": evidence.other,
        "TIMES": f"{evidence.frequency:.1f}",
        "FIRST": evidence.attributes[0].value if evidence.attributes else "",
    }


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
