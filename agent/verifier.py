"""The rules that a written explanation must pass. They know the evidence and the catalog, not who wrote it."""

import re
from collections.abc import Collection

from agent.evidence import Evidence

FEWEST_WORDS = 3
MOST_WORDS = 60
MOST_SENTENCES = 2
_NEGATION = re.compile(r"\b(not|never|no|none|without|hardly|nor|neither|nothing)\b|n't\b", re.IGNORECASE)
_NAME = "\x00"


def problems(text: str, evidence: Evidence, known_values: Collection[str]) -> list[str]:
    """Everything wrong with ``text``, as short sentences; an empty list means that it may be shown.

    ``known_values`` are all attribute values of the catalog. Checked: names and attributes of the evidence are there
    and no others, no number or negation that is not in it, nobody is said to have liked the recommended item, one or
    two sentences, nothing repeated.
    """
    named = [evidence.label, *(cited.label for cited in evidence.cited)]
    facts = [a.value for a in evidence.attributes] + list(evidence.words)
    found = [f"{name!r} is missing" for name in [*named, *facts] if name not in text]
    if any(f"{verb} {evidence.label}" in text for verb in ("liked", "loved", "enjoyed", "chose", "preferred")):
        found.append("it says that the recommended item was liked before")
    rest = _without(text, [*named, *facts])
    found += [f"{value!r} is not in the evidence" for value in sorted(known_values) if _names(rest, value)]
    found += _unsupported(rest, evidence)
    return found + _clumsy(rest)


def _without(text: str, names: list[str]) -> str:
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, _NAME)
    return text


def _names(text: str, value: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)) if value in text else False


def _unsupported(rest: str, evidence: Evidence) -> list[str]:
    found = []
    if re.search(r"\d", rest):
        found.append("a number that is not in the evidence")
    if evidence.shape != "unlinked" and _NEGATION.search(rest):
        found.append("a negation")
    for word in re.finditer(r"\b[A-Z]\w*", rest):
        before = rest[: word.start()].rstrip()
        if before and not before.endswith((".", "!", "?")) and word[0] != "I":
            found.append(f"the unknown name {word[0]!r}")
    if re.search(r"[<>{}|\[\]`]|https?:", rest):
        found.append("markup")
    return found


def _clumsy(rest: str) -> list[str]:
    found = []
    words = rest.split()
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
        found.append(f"{len(words)} words")
    if len(re.findall(r"[.!?](?:\s|$)", rest)) > MOST_SENTENCES:
        found.append("more than two sentences")
    if not rest.rstrip().endswith((".", "!", "?")):
        found.append("no end")
    triples = [triple for triple in zip(words, words[1:], words[2:], strict=False) if _NAME not in "".join(triple)]
    if len(set(triples)) < len(triples):
        found.append("repetition")
    return found
