"""Models that the settings name, with a remote one beside them: the language model is loaded once."""

import pytest

from agent.models import Models
from agent.remote.options import RemoteSettings
from agent.settings import LanguageModelSettings, Settings
from finetune import language_model


@pytest.fixture
def models(folders, monkeypatch):
    """With a remote writer, and the calls that load a language model."""
    loaded = []

    def load(*arguments, **options):
        loaded.append(arguments)
        return real(*arguments, **options)

    real = language_model.load_language_model
    monkeypatch.setattr(language_model, "load_language_model", load)
    local = LanguageModelSettings(model=str(folders[1]), precision="float32", writer="off", intent="off")
    remote = RemoteSettings(base_url="http://127.0.0.1:9/v1", model="none", writer=True, key_env="")
    return Models(Settings(device="cpu", language_model=local, remote=remote)), loaded


@pytest.mark.parametrize("first", ["with the remote one", "without"])
def test_with_and_without_the_remote_one_there_is_one_language_model(models, first):
    models, loaded = models
    local = models.local
    used = [local, models] if first == "without" else [models, local]
    assert used[0].language_model is used[1].language_model
    assert len(loaded) == 1
    assert models.ranker is not local.ranker
    assert local.writer is not models.writer
    assert len(loaded) == 1


def test_other_models_have_their_own(models):
    models, loaded = models
    assert Models(models.settings).language_model is not models.language_model
    assert len(loaded) == 2
