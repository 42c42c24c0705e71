"""Protected traits: what a person is must never be given as the reason for what they are recommended."""

import re

_FIELDS = frozenset(
    "age caste citizenship disability ethnicity gender health nationality orientation pregnancy race religion sex"
    " sexual_orientation sexuality".split()
)
_WORDS = re.compile(
    r"\b(?:asexual|bisexual|gay|homosexual|lesbian|lgbt\w*|queer|trans(?:gender|sexual)\w*"
    r"|buddhis[mt]\w*|catholic\w*|christian\w*|evangelical\w*|hindu\w*|islam\w*|jew(?:s|ish)?|judaism|mormon\w*"
    r"|muslim\w*|protestant\w*|sikh(?:s|ism)?|atheis[mt]\w*"
    r"|african[- ]american\w*|black (?:people|voices)|ethnic\w*|gypsy|roma people|racial|aboriginal\w*|indigenous"
    r"|autis\w*|disab\w*|depressi(?:on|ve)|bipolar|cancer|hiv|aids|pregnan\w*|addict\w*|obes\w*|dementia)\b",
    re.IGNORECASE,
)


def is_protected(field: str, value: str) -> bool:
    """Whether a fact of an item is about a trait of people that nobody may be judged by.

    Faith, descent, disability and health, sexual orientation and gender, as in article 21 of the Charter of Fundamental
    Rights of the European Union. English names of fields and values alone are known.
    """
    return field.casefold() in _FIELDS or bool(_WORDS.search(value))
