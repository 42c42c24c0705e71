"""Who reads what a person says: a remote language model, the tuned local one, or rules."""

from collections.abc import Callable

from agent.intent import Intent
from agent.intent_rules import read_intent
from agent.models import Models
from agent.remote.reader import RemoteIntentReader
from agent.whole_titles import WholeTitles
from retrieval.data.catalog import Catalog


def intent_reader(
    models: Models, catalog: Catalog, note: Callable[[str], None], *, rules: bool = False
) -> Callable[[str], Intent]:
    """Reads an utterance. Rules read where the language model has not been tuned to, and what it comes to no end with.

    A remote model reads if the settings want that; where it fails, the local one. ``note`` is told of all of it. Of
    titles that were cut whoever reads gets the whole ones.

    Raises:
        ModelError: the language model or the adapter cannot be loaded, or they do not belong together.
    """
    read, titles = _reader(models, catalog, note, rules=rules), WholeTitles(catalog)
    return lambda said: titles.mended(read(said), said)


def _reader(
    models: Models, catalog: Catalog, note: Callable[[str], None], *, rules: bool = False
) -> Callable[[str], Intent]:
    if rules:
        return read_intent
    if models.settings.remote.intent:
        return _remote_reader(models, catalog, note)
    if models.tuned_adapter("intent") is None:
        note("rules read what you say: the language model is not tuned to; tune it with: whyrec finetune intent")
        return read_intent
    reader = models.intent_reader
    fields = _numbers(catalog)

    def read(said: str) -> Intent:
        lines = reader.read(said, fields)
        if lines is None:
            note("the language model came to no end; rules have read this")
            return read_intent(said)
        return Intent.read(lines)

    return read


def _numbers(catalog: Catalog) -> list[str]:
    return [name for name in catalog.fields if catalog.frame.schema[name].is_numeric()]


def _remote_reader(models: Models, catalog: Catalog, note: Callable[[str], None]) -> Callable[[str], Intent]:
    remote = RemoteIntentReader(models.remote, _numbers(catalog), note)
    loaded: list[Callable[[str], Intent]] = []

    def local(said: str) -> Intent:
        if not loaded:
            loaded.append(_reader(models.local, catalog, note))
        return loaded[0](said)

    def read(said: str) -> Intent:
        intent = models.remote.or_local(lambda: remote.read(said), lambda: local(said), "this was read locally")
        for message in models.remote.take_notes():
            note(message)
        return intent

    return read
