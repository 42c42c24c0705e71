"""The language model as a reader of intents: what it writes has their form, and its phrases are the person's own."""

import json
from collections.abc import Sequence

from finetune.constrained import ConstrainedWriter
from finetune.language_model import LanguageModel
from prompts import render

INTENT = "intent"  # the name of the tuned adapter in the model
LONGEST = 120  # tokens of an intent
_GRAMMAR = """start: (phrase | range | count | ask)*
phrase: PHRASE "; " ("like" | "unlike" | "want" | "avoid" | "more" | "less" | "drop") "\\n"
range: "range: " span ("; " span)* "\\n"
span: ({fields}) " " (">=" | "<=" | ">" | "<" | "=") " " number
number: /-?[0-9]{{1,6}}(\\.[0-9]{{1,2}})?/
count: "count: " /[1-9][0-9]?/ "\\n"
ask: "ask: why " /[1-9][0-9]?/ "\\n"
PHRASE: SAID & /[^ ](.*[^ ])?/
SAID: %regex {said}
"""


class LMIntentReader:
    """Reads one utterance at a time: constrained decoding, the likeliest token each time.

    The grammar (llguidance) has the lines of an intent; a phrase is some words of the utterance in a row, so nothing
    can be meant that was not said.
    """

    def __init__(self, language_model: LanguageModel, adapter: str | None = None):
        """``adapter``: the name of a tuned adapter in the model; None reads with the model as it came."""
        self._lm = language_model
        self._constrained = ConstrainedWriter(language_model, adapter)

    def read(self, said: str, fields: Sequence[str]) -> str | None:
        """The lines of an intent; None where they came to no end. fields: those of numbers that an item has."""
        plain = _plain(said)
        if not plain:
            return ""
        grammar = _GRAMMAR.format(
            fields=" | ".join(json.dumps(name) for name in fields) or '"number"',
            said=json.dumps({"substring_words": plain}),
        )
        matcher = self._constrained.matcher(grammar)
        [found] = self._constrained.write(self.prefix(said, fields), matcher, [None], LONGEST)
        return found.text if found.ended else None

    def prefix(self, said: str, fields: Sequence[str]) -> list[int]:
        """The tokens that the intent follows."""
        return self._lm.start_ids + self._lm.text_ids(
            render("intent-v1", said=_plain(said), fields=", ".join(fields) or "none")
        )

    def tokens(self, lines: str) -> list[int]:
        """An intent as it is written, the end included."""
        return [*self._lm.text_ids(f"{lines}\n" if lines else ""), self._lm.tokenizer.eos_token_id]


def _plain(said: str) -> str:
    """In one line, without what stands between a phrase and its slot."""
    return " ".join(said.replace(";", ",").split())
