"""Who reads what a person says: the tuned language model, or rules."""

from collections.abc import Callable

from agent.intent import Intent
from agent.intent_rules import read_intent
from agent.models import Models
from retrieval.data.catalog import Catalog


def intent_reader(
    models: Models, catalog: Catalog, note: Callable[[str], None], *, rules: bool = False
) -> Callable[[str], Intent]:
    """Reads an utterance. Rules read where the language model has not been tuned to, and what it comes to no end with.

    ``note`` is told of either.

    Raises:
        ModelError: the language model or the adapter cannot be loaded, or they do not belong together.
    """
    if rules:
        return read_intent
    if models.tuned_adapter("intent") is None:
        note("rules read what you say: the language model is not tuned to; tune it with: whyrec finetune intent")
        return read_intent
    reader = models.intent_reader
    fields = [name for name in catalog.fields if catalog.frame.schema[name].is_numeric()]

    def read(said: str) -> Intent:
        lines = reader.read(said, fields)
        if lines is None:
            note("the language model came to no end; rules have read this")
            return read_intent(said)
        return Intent.read(lines)

    return read
