"""Intents by rules: what is read of an utterance without a language model."""

import re
from collections.abc import Iterator

from agent.intent import Comparison, Intent

YEAR = "year"
_NUMBERS = dict(
    zip("one two three four five six seven eight nine ten eleven twelve".split(), range(1, 13), strict=True)
) | {"a couple": 2, "a few": 3, "a dozen": 12, "half a dozen": 6}
_ORDINALS = dict(
    zip("first second third fourth fifth sixth seventh eighth ninth tenth".split(), range(1, 11), strict=True)
)
_DECADES = dict(
    zip(
        "twenties thirties forties fifties sixties seventies eighties nineties".split(),
        range(1920, 2000, 10),
        strict=True,
    )
)
_JOINTS = re.compile(r"\s*(?:[,.;!?](?:\s+|$)| – |\bbut\b|\boh and\b|\balso\b)\s*")
_AND = re.compile(
    r"\s+and\s+(?=(?:no|not|without|with|i|from|more|less|give|just|before|after|since|something)\b)", re.IGNORECASE
)
_FILLER = re.compile(
    r"^(?:(?:hi|hey|hello|ok|okay|so|well|and|oh|please|thanks|can you|could you|i want|i'd like|i'm looking for|"
    r"find me|show me|give me|recommend|maybe|preferably)\b[\s,]*)+",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\s*(?:\bplease\b|\bthanks\b|\bthough\b|\btonight\b|\bonly\b)\s*$", re.IGNORECASE)
_COUNT = re.compile(
    rf"^(?:top |just |only |show |i need )?(\d{{1,2}}|{'|'.join(_NUMBERS)})(?: of them| is enough| (?:film|game)s?)?$",
    re.IGNORECASE,
)
_ASK = re.compile(
    rf"\b(?:why|explain|reason|how come)\b.*?\b(\d{{1,2}}|{'|'.join(_ORDINALS)})(?:st|nd|rd|th)?\b", re.IGNORECASE
)
_BOUNDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(?:between|from) (\d{4}) (?:and|to|until) (\d{4})", (">=", "<=")),
    (r"(?:since|from) (\d{4}) on|since (\d{4})|not older than (\d{4})|(\d{4}) or (?:newer|later)", (">=",)),
    (r"(?:after|newer than|later than) (\d{4})", (">",)),
    (r"(?:before|older than) (\d{4})", ("<",)),
    (r"(?:until|up to|no later than) (\d{4})|(\d{4}) or (?:older|earlier)", ("<=",)),
    (r"(?:from|in|of|made in) (\d{4})", ("=",)),
)
_DECADE = re.compile(rf"\b(?:(?:19|20)?(\d)0'?s|({'|'.join(_DECADES)}))\b", re.IGNORECASE)
_CLUES: tuple[tuple[str, str], ...] = (  # the first that fits counts; its group is the phrase
    ("drop", r"(?:forget(?: about)?|never mind|drop|remove|i no longer want|it need not be)(?: the)? (.+)"),
    ("unlike", r"(?:not|nothing|don't give me anything|anything but) like (.+)"),
    ("unlike", r"(?:i (?:hated|disliked|didn't like|did not like|didn't enjoy|did not enjoy))(?: watching)? (.+)"),
    ("unlike", r"(.+) was (?:boring|terrible|awful|bad)"),
    (
        "like",
        r"(?:something|anything|things|more|one|films?|games?|books?)? ?(?:just )?(?:like|similar to|close to) (.+)",
    ),
    ("like", r"(?:i (?:really )?(?:loved|liked|enjoyed)) (.+?)(?: a lot)?"),
    ("like", r"(?:my favou?rite is|in the style of|as in|i'm a fan of|a mix of) (.+)"),
    ("like", r"(.+?) (?:was (?:great|good|wonderful)|is one of my favou?rites|(?:are|is) my favou?rites?)"),
    ("more", r"(?:a bit |with |make it |much )*more (.+)"),
    ("less", r"(?:a bit |with |make it |much )*(?:less|fewer) (.+)"),
    ("less", r"not (?:so much|too) (.+)"),
    (
        "avoid",
        r"(?:no|without|not|nothing|avoid|except|anything but|it must not be|i (?:hate|don't (?:want|like))) (.+)",
    ),
    ("want", r"(?:something|some|a bit of|with|it should be|it has to be|i'm in the mood for|i (?:like|love)) (.+)"),
)


def read_intent(said: str) -> Intent:
    """What an utterance means, clause by clause; a clause that fits no rule is wanted as it stands."""
    asked = _ASK.search(said)
    if asked:
        return Intent(ask=_ORDINALS.get(asked[1].lower()) or int(asked[1]))
    found: dict[str, list[str]] = {}
    bounds: list[Comparison] = []
    count = None
    for clause in _clauses(said):
        rest, more = _without_bounds(clause)
        bounds += more
        rest = _TAIL.sub("", _FILLER.sub("", rest)).strip()
        number = _COUNT.match(rest)
        if number:
            count = _NUMBERS.get(number[1].lower()) or int(number[1])
        elif rest:
            slot, phrases = _read(rest)
            found.setdefault(slot, []).extend(phrases)
    return Intent(**{slot: tuple(phrases) for slot, phrases in found.items()}, range=tuple(bounds), count=count)  # type: ignore[arg-type]


def _clauses(said: str) -> Iterator[str]:
    for clause in _JOINTS.split(said.strip()):
        parts = re.split(
            r"\s+and\s+(?=(?:no|not|without|with|i|from|more|less|give|just|before|after|since|something)\b)", clause
        )
        yield from (part for part in parts if part.strip())


def _without_bounds(clause: str) -> tuple[str, list[Comparison]]:
    """What is left of a clause once its bounds are read."""
    found: list[Comparison] = []
    for pattern, operators in _BOUNDS:
        match = re.search(rf"\b(?:{pattern})\b", clause, re.IGNORECASE)
        if match:
            years = [float(year) for year in match.groups() if year]
            found += [Comparison(YEAR, operator, year) for operator, year in zip(operators, years, strict=True)]
            clause = clause[: match.start()] + clause[match.end() :]
    decade = _DECADE.search(clause)
    if decade and not found:
        first = _DECADES[decade[2].lower()] if decade[2] else 1900 + 10 * int(decade[1])
        first += 100 if first < min(_DECADES.values()) else 0
        found = [Comparison(YEAR, ">=", first), Comparison(YEAR, "<=", first + 9)]
        clause = re.sub(r"\b(?:from|in|made in|of)? ?the $", "", clause[: decade.start()]) + clause[decade.end() :]
    return clause.strip(), found


def _read(clause: str) -> tuple[str, list[str]]:
    for slot, pattern in _CLUES:
        match = re.fullmatch(pattern, clause, re.IGNORECASE)
        if match:
            return slot, re.split(r"\s+and\s+", match[1]) if slot == "like" else [match[1]]
    return "want", [clause]
