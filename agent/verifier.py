"""The rules that a written explanation must pass. They know the evidence and the catalog, not who wrote it."""

import re
from collections.abc import Collection

from agent.evidence import Evidence
from agent.protected import is_protected
from agent.request import Language
from prompts import vocabulary

FEWEST_WORDS = 3
MOST_WORDS = 60
MOST_SENTENCES = 2
_NEGATION = re.compile(r"\b(not|never|no|none|without|hardly|nor|neither|nothing)\b|n't\b", re.IGNORECASE)
_HONEST = ("far", "unlinked")  # shapes whose sentences say that there is little to say
_OFTEN = {"en": (" is ", "times"), "zh": (" 的比例是整个目录的 ", "倍")}  # how often the first attribute is
_ITEM, _NAME = "\x01", "\x02"


def problems(
    text: str, evidence: Evidence, known_values: Collection[str], language: Language = "en", noun: str = "item"
) -> list[str]:
    """Everything wrong with ``text``, as short sentences; an empty list means that it may be shown.

    ``known_values`` are all attribute values of the catalog; ``noun`` is what an item is called. Checked: names and
    attributes of the evidence are there and no others, no number or negation that is not in it, no word that known
    sentences (`prompts.vocabulary`) do without, no protected trait as a reason, nobody is said to have liked the
    recommended item, one or two sentences, nothing repeated.
    """
    names = [evidence.label, *(cited.label for cited in evidence.cited), *([evidence.other] if evidence.other else [])]
    common = evidence.common if language == "en" else evidence.values
    facts = [common] if common else []
    facts += [f"“{word}”" for word in evidence.words]
    found = [f"{name!r} is missing" for name in [*names, *facts] if name not in text]
    before, after = _OFTEN[language]
    often = re.escape(f"{evidence.attributes[0].value}{before}" if evidence.attributes else "")
    rest = re.sub(rf"(?<![\w.,]){often}{evidence.frequency:.1f} {after}", _NAME, text)
    rest = _masked(rest, evidence, [*names[1:], *facts])
    if evidence.people:
        rest, counted = re.subn(rf"(?<![\d,]){evidence.people:,}(?![\d,])", _NAME, rest)
        found += [] if counted else [f"the number {evidence.people:,} is missing"]
    found += _turned_round(rest, others=evidence.people > 0)
    found += [f"{value!r} is not in the evidence" for value in sorted(known_values) if _claims(rest, value)]
    found += _unsupported(rest, evidence)
    found += [f"{a.value!r} is a protected trait" for a in evidence.attributes if is_protected(a.field, a.value)]
    if language != "en":
        return found + _unfinished(rest)
    return found + _clumsy(rest) + _unknown(rest, {evidence.did, evidence.they, noun})


def _masked(text: str, evidence: Evidence, names: list[str]) -> str:
    """The text with the item, and everything else of the evidence, each as one sign; long names before their parts."""
    signs = dict.fromkeys(names, _NAME)
    signs.setdefault(evidence.label, _ITEM)  # of the same name as a cited item, it counts as that
    for name in sorted(signs, key=len, reverse=True):
        if name:
            text = text.replace(name, signs[name])
    return text


def _turned_round(rest: str, *, others: bool) -> list[str]:
    """Whether the person is said to have liked the item; ``others``: it may be said of other people."""
    liked = r"(also )?(liked|loved|enjoyed|chose|preferred|rated)"
    who = "you " if others else ""
    before, after = rf"\b{who}{liked} {_ITEM}", rf"{_ITEM},? (which|that|as) you {liked}"
    if re.search(rf"{before}|{after}|\byou {liked} both", rest, re.IGNORECASE):
        return ["it says that the recommended item was liked before"]
    return []


def _unknown(rest: str, said: Collection[str]) -> list[str]:
    """Words that could carry a fact of their own: those that no known sentence has, ``said`` in a slot of it or not."""
    known = vocabulary() | set(re.findall(r"[a-z]+", " ".join(said).lower()))
    return [f"the unknown word {word!r}" for word in re.findall(r"[^\W\d_]+", rest) if word.lower() not in known]


def _claims(rest: str, value: str) -> bool:
    """Whether an attribute value is named; a value that is made of the sentences' own words proves nothing."""
    if value not in rest or set(re.findall(r"\w+", value.lower())) <= vocabulary():
        return False
    return bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", rest))


def _unsupported(rest: str, evidence: Evidence) -> list[str]:
    found = []
    if re.search(r"\d", rest):
        found.append("a number that is not in the evidence")
    if evidence.shape not in _HONEST and _NEGATION.search(rest):
        found.append("a negation")
    for word in re.finditer(r"\b[A-Z]\w*", rest):
        before = rest[: word.start()].rstrip()
        if before and not before.endswith((".", "!", "?")) and word[0] != "I":
            found.append(f"the unknown name {word[0]!r}")
    if re.search(r"[<>{}|\[\]`]|https?:", rest):
        found.append("markup")
    return found


def _unfinished(rest: str) -> list[str]:
    """What can be said of Chinese without knowing where its words end."""
    found = [] if rest.endswith("。") else ["no end"]
    return found + (["more than two sentences"] if rest.count("。") > MOST_SENTENCES else [])


def _clumsy(rest: str) -> list[str]:
    found = []
    words = rest.split()
    bare = [word.strip(".,:;?!") for word in words]
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
        found.append(f"{len(words)} words")
    if len(re.findall(r"[.!?](?:\s|$)", rest)) > MOST_SENTENCES:
        found.append("more than two sentences")
    if not rest.rstrip().endswith((".", "!", "?")):
        found.append("no end")
    triples = [t for t in zip(bare, bare[1:], bare[2:], strict=False) if not {_ITEM, _NAME} & set("".join(t))]
    if len(set(triples)) < len(triples):
        found.append("repetition")
    return found
