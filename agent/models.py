"""Models, loaded when first used: a request that needs none starts without torch."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agent.settings import Settings
from retrieval.artefacts import file_fingerprint
from retrieval.errors import ModelError
from retrieval.model_source import locate_model

if TYPE_CHECKING:
    from finetune.language_model import LanguageModel
    from finetune.ranker import LMRanker
    from finetune.writer import LMWriter
    from retrieval.text.encoder import SentenceEncoder


class Models:
    """The models that the settings name; ``say`` is told of what takes long."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda _: None):
        self._settings = settings
        self._say = say

    @cached_property
    def encoder_fingerprint(self) -> str:
        """16 hexadecimal digits of the encoder's files, found without loading it."""
        folder = self._encoder_folder
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md" and path.name[0] != "."
        )
        if not files:
            raise ModelError(f"{folder} holds no sentence-transformer")
        return file_fingerprint(files)

    @cached_property
    def encoder(self) -> "SentenceEncoder":
        """The sentence encoder.

        Raises:
            ModelError: it is not installed or cannot be loaded.
        """
        from retrieval.text.encoder import load_encoder

        return load_encoder(self._encoder_folder, self.encoder_fingerprint, self._settings.device)

    @cached_property
    def language_model(self) -> "LanguageModel":
        """The language model; a GGUF file is converted on first use.

        Raises:
            ModelError: it is not installed or cannot be loaded.
        """
        path = locate_model(self._settings.language_model.model)
        from finetune.language_model import load_language_model

        settings = self._settings
        return load_language_model(
            path,
            settings.cache.expanduser(),
            device=settings.device,
            precision=settings.language_model.precision,
            say=self._say,
        )

    @cached_property
    def ranker(self) -> "LMRanker":
        """The language model as a ranker."""
        from finetune.ranker import LMRanker

        return LMRanker(self.language_model)

    @cached_property
    def writer(self) -> "LMWriter":
        """The language model as a writer."""
        from finetune.writer import LMWriter

        return LMWriter(self.language_model)

    @cached_property
    def _encoder_folder(self) -> Path:
        folder = locate_model(self._settings.encoder.model)
        if not folder.is_dir():
            raise ModelError(f"the encoder {self._settings.encoder.model!r} is a file; a folder is needed")
        return folder
