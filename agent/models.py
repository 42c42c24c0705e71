"""Models, loaded when first used: a request that needs none starts without torch."""

import copy
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.encoders import OFF, Encoders, counts
from agent.remote.endpoint import Endpoint
from agent.remote.options import RemoteSettings
from agent.remote.ranker import RemoteRanker
from agent.remote.writer import WriterWithStandby
from agent.settings import PACKAGED_ADAPTERS, PACKAGED_RANKER
from agent.tuned_adapter import Kind, TunedAdapter, current_tuned, without
from agent.tuned_ranker import TunedRanker, current_ranker
from finetune.wording import SentenceWriter
from retrieval.artefacts import file_fingerprint
from retrieval.contracts import Judge
from retrieval.errors import ModelError
from retrieval.model_source import locate_model

if TYPE_CHECKING:
    from finetune.intent import LMIntentReader
    from finetune.language_model import LanguageModel
    from finetune.writer import LMWriter


_OF_A_RANKER = ("ranker", "tuned_ranker", "why_no_ranker", "writer")


class Models(Encoders):
    """All models that the settings name: encoders, the language model, its adapters, and a remote one."""

    @cached_property
    def remote(self) -> Endpoint:
        """The remote language model that the settings name; nothing is asked before it is used."""
        return Endpoint(self.settings.remote, self.say)

    @cached_property
    def local(self) -> Self:
        """The same without the remote one, what is loaded shared; the language model also where it is loaded later."""
        local = copy.copy(self)
        local._language_models = self._language_models
        local._loading = self._loading
        local.settings = self.settings.model_copy(update={"remote": RemoteSettings()})
        for name in _OF_A_RANKER:
            local.__dict__.pop(name, None)
        return local

    @cached_property
    def _language_models(self) -> "list[LanguageModel]":
        """The one that is loaded, if it is."""
        return []

    @property
    def language_model(self) -> "LanguageModel":
        """The language model; a GGUF file is converted on first use.

        Raises:
            ModelError: it is not installed or cannot be loaded.
        """
        with self._loading:
            if not self._language_models:
                self._language_models.append(self._load_language_model())
            return self._language_models[0]

    @cached_property
    def _loading(self) -> threading.Lock:
        return threading.Lock()

    def _load_language_model(self) -> "LanguageModel":
        path = locate_model(self.settings.language_model.model)
        from finetune.language_model import load_language_model

        settings = self.settings
        return load_language_model(
            path,
            settings.cache.expanduser(),
            device=settings.device,
            precision=settings.language_model.precision,
            layers=settings.language_model.layers,
            say=self.say,
        )

    @property
    def language_model_name(self) -> str:
        """What the settings call it."""
        return self.settings.language_model.model

    @cached_property
    def language_model_fingerprint(self) -> str:
        """16 hexadecimal digits of the language model's files, and how many of its layers there are if not all.

        Raises:
            ModelError: it is not installed.
        """
        source = locate_model(self.settings.language_model.model)
        files = [source] if source.is_file() else [path for path in source.rglob("*") if counts(path)]
        layers = self.settings.language_model.layers
        return file_fingerprint(files) + (f"-{layers}" if layers else "")

    @cached_property
    def ranker(self) -> Judge:
        """The language model as a ranker: the remote one if the settings want that, else the tuned one if there is one.

        Raises:
            ModelError: the language model or the adapter cannot be loaded, or they do not belong together.
        """
        if self.settings.remote.ranker:
            return RemoteRanker(self.remote)
        from finetune.adapters import load_adapter
        from finetune.ranker import RANK, LMRanker

        tuned = self.tuned_ranker
        if tuned is None:
            return LMRanker(self.language_model)
        self._check_base("ranker", tuned, "WHYREC_RANKING__RANKER=off")
        load_adapter(self.language_model, RANK, tuned.folder)
        return LMRanker(self.language_model, RANK)

    @cached_property
    def tuned_ranker(self) -> TunedRanker | None:
        """The tuned ranker that the settings name; None where there is none, or none that fits (`why_no_ranker`).

        Of a remote one it is what was proven of that very model at that endpoint.

        Raises:
            ModelError: it is damaged.
        """
        named = self.settings.ranking.ranker
        if self.settings.remote.ranker and named != OFF:
            proof = self.settings.remote.proof
            found = None if proof == "auto" else current_ranker(Path(proof).expanduser())
            return found if found and found.base_fingerprint == self.remote.fingerprint else None
        if named == str(PACKAGED_RANKER):
            return self.packaged_ranker
        return None if named in (OFF, "auto") else current_ranker(Path(named).expanduser())

    @cached_property
    def packaged_ranker(self) -> TunedRanker | None:
        """The one that came with whyrec; None where the settings name another language model than it is for."""
        packaged = current_ranker(PACKAGED_RANKER)
        return None if packaged is None or self._why_unfit("ranker", packaged) else packaged

    @cached_property
    def why_no_ranker(self) -> str:
        """Why there is no tuned ranker, where there is none."""
        named = self.settings.ranking.ranker
        if self.settings.remote.ranker:
            name = self.settings.remote.name
            return f"nothing is proven of the language model {name} here; prove it: whyrec finetune ranker --lists 0"
        packaged = current_ranker(PACKAGED_RANKER) if named == str(PACKAGED_RANKER) else None
        unfit = packaged and self._why_unfit("ranker", packaged)
        return f"{unfit or 'there is no tuned ranker'}, and an untuned one orders worse"

    def _why_unfit(self, kind: str, packaged: TunedRanker | TunedAdapter) -> str:
        """Why the language model is not the one that a packaged adapter needs; empty where it is."""
        if packaged.base != self.language_model_name:  # which may have to be downloaded first
            return f"the packaged {kind} is for {packaged.base}"
        try:
            fits = packaged.base_fingerprint == self.language_model_fingerprint
        except ModelError as error:
            return str(error)
        return "" if fits else f"the packaged {kind} is for another {packaged.base}"

    def _check_base(self, kind: str, tuned: TunedRanker | TunedAdapter, without: str) -> None:
        """Make sure that an adapter belongs to the language model."""
        if tuned.base_fingerprint != self.language_model_fingerprint:
            raise ModelError(
                f"the tuned {kind} in {tuned.folder} belongs to the language model {tuned.base} "
                f"({tuned.base_fingerprint}), and the settings name {self.settings.language_model.model} "
                f"({self.language_model_fingerprint}); tune it again: whyrec finetune {kind}, or do without it: "
                f"{without}"
            )

    @cached_property
    def writer(self) -> SentenceWriter:
        """The language model as a writer: the remote one if the settings want that, else the tuned one if there is one.

        Raises:
            ModelError: the language model or the adapter cannot be loaded, or they do not belong together.
        """
        if self.settings.remote.writer:
            return WriterWithStandby(self.remote, lambda: self.local.writer)
        from finetune.writer import EXPLAIN, LMWriter

        return LMWriter(self.language_model, self._with_adapter("writer", EXPLAIN))

    @cached_property
    def untuned_writer(self) -> "LMWriter":
        """The language model as a writer, as it came.

        Raises:
            ModelError: it is not installed or cannot be loaded.
        """
        from finetune.writer import LMWriter

        return LMWriter(self.language_model)

    @cached_property
    def intent_reader(self) -> "LMIntentReader":
        """The language model as a reader of intents: the tuned one where there is one.

        Raises:
            ModelError: the language model or the adapter cannot be loaded, or they do not belong together.
        """
        from finetune.intent import INTENT, LMIntentReader

        return LMIntentReader(self.language_model, self._with_adapter("intent", INTENT))

    def _with_adapter(self, kind: Kind, name: str) -> str | None:
        """The name of the tuned adapter in the language model; None where there is none."""
        from finetune.adapters import load_adapter

        tuned = self.tuned_adapter(kind)
        if tuned is None:
            return None
        self._check_base(kind, tuned, without(kind))
        load_adapter(self.language_model, name, tuned.folder)
        return name

    def tuned_adapter(self, kind: Kind) -> TunedAdapter | None:
        """The tuned one that the settings name; None where there is none, or the packaged one does not fit.

        Raises:
            ModelError: it is damaged.
        """
        named = getattr(self.settings.language_model, kind)
        found = None if named in (OFF, "auto") else current_tuned(kind, Path(named).expanduser())
        packaged = found is not None and found.folder == PACKAGED_ADAPTERS[kind]
        return None if found is None or (packaged and self._why_unfit(kind, found)) else found
