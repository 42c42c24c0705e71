"""The models of the planted world: the word encoder, and the tiny language model as ranker and writer."""

from pathlib import Path

from conftest import WordEncoder
from tiny_language_model import tiny_language_model

from agent.models import Models
from agent.settings import EventSettings, ItemSettings, Settings
from finetune.language_model import LanguageModel

PLANTED_SETTINGS = Settings(items=ItemSettings(noun="story"), events=EventSettings(liked_from=5.0))


class PlantedModels(Models):
    """Real models, small ones."""

    encoder_fingerprint = WordEncoder.fingerprint
    encoder = query_encoder = WordEncoder()

    def __init__(self, folder: Path):
        super().__init__(PLANTED_SETTINGS)
        self._folder = folder
        self._loaded: LanguageModel | None = None

    @property
    def language_model(self) -> LanguageModel:
        self._loaded = self._loaded or tiny_language_model(self._folder)
        return self._loaded
