"""The encoders that the settings name, loaded when first used: a request that needs none starts without torch."""

from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.settings import FeatureSettings, Settings
from retrieval.artefacts import file_fingerprint
from retrieval.errors import ModelError
from retrieval.model_source import locate_model
from retrieval.text.cache import CachedEncoder
from retrieval.text.features import JoinedEncoder
from retrieval.text.tuned import TunedEncoder, current_tuned

if TYPE_CHECKING:
    from retrieval.contracts import Encoder
    from retrieval.text.encoder import SentenceEncoder

OFF = "off"
OWN_LAYERS = 5  # of the packaged encoder's six


class Encoders:
    """What texts become vectors by; ``say`` is told of what takes long."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda _: None):
        self.settings = settings
        self.say = say

    @cached_property
    def encoder_fingerprint(self) -> str:
        """16 hexadecimal digits of each model that item vectors come from, found without loading any."""
        return "+".join(self._encoders)

    @cached_property
    def encoder(self) -> "Encoder":
        """What texts become vectors by: the sentence encoder; beside it a language model's states, and itself tuned.

        Raises:
            ModelError: one is not installed or cannot be loaded.
        """
        return JoinedEncoder([load() for load in self._encoders.values()])

    @cached_property
    def query_encoder(self) -> "Encoder":
        """What words to search with become vectors by: the sentence encoder alone.

        A language model's states of a few words say more of how they are worded than of what is meant.
        """
        return self._sentence_encoder

    def remembering_encoder(self, root: Path) -> "Encoder":
        """The same, with the vectors of all texts kept in ``features/`` of the workspace at ``root``."""
        return JoinedEncoder(
            [CachedEncoder(root / "features" / name, name, load) for name, load in self._encoders.items()]
        )

    @cached_property
    def _encoders(self) -> "dict[str, Callable[[], Encoder]]":
        """How each part of an item's vector is loaded, by the fingerprint of what it comes from."""
        name, features = self._sentence_name, self._features
        encoders: dict[str, Callable[[], Encoder]] = {name: lambda: self._sentence_encoder}
        if self._has_own_layer:
            encoders = {f"{name}-{features.layers}": cache(self._layered_encoder)}
        elif features.model != OFF:
            source = self._features_source
            files = [source] if source.is_file() else [path for path in source.rglob("*") if counts(path)]
            states = f"{file_fingerprint(files)}-{features.layers}"
            encoders[states] = cache(lambda: self._hidden_states(states))
        if self.settings.encoder.tuned != OFF:
            tuned = self.tuned
            encoders[tuned.fingerprint] = cache(lambda: self.torch_encoder(tuned.fingerprint, tuned.layers))
        return encoders

    @cached_property
    def untuned(self) -> Self:
        """The same without the tuned encoder."""
        encoder = self.settings.encoder.model_copy(update={"tuned": OFF})
        return type(self)(self.settings.model_copy(update={"encoder": encoder}), self.say)

    @cached_property
    def tuned(self) -> TunedEncoder:
        """The tuned encoder that the settings name.

        Raises:
            ModelError: it is missing, damaged, or belongs to another encoder.
        """
        return current_tuned(Path(self.settings.encoder.tuned).expanduser(), self.sentence_fingerprint)

    @cached_property
    def sentence_fingerprint(self) -> str:
        """16 hexadecimal digits of the sentence encoder, untuned, whatever computes it.

        Raises:
            ModelError: it is not installed.
        """
        files = [path for path in self._encoder_folder.rglob("*") if counts(path)]
        if not files:
            raise ModelError(f"{self._encoder_folder} holds no sentence-transformer")
        return file_fingerprint(files)

    @cached_property
    def _features(self) -> FeatureSettings:
        """The settings of item features with what ``auto`` stands for."""
        features, encoder = self.settings.features, self.settings.encoder.model
        if features.model != "auto":
            return features
        return FeatureSettings(model=encoder, layers=OWN_LAYERS) if encoder == "minilm" else FeatureSettings(model=OFF)

    @property
    def names(self) -> tuple[str, ...]:
        """The models that item vectors come from, as the settings call them."""
        encoder, features = self.settings.encoder, self._features.model
        tuned = f"{encoder.model} tuned" if encoder.tuned != OFF else OFF
        return tuple(dict.fromkeys(name for name in (encoder.model, features, tuned) if name != OFF))

    @cached_property
    def _features_source(self) -> Path:
        try:
            return locate_model(self._features.model)
        except ModelError as error:
            raise ModelError(f"{error}; or do without its features: WHYREC_FEATURES__MODEL=off") from error

    @property
    def _sentence_name(self) -> str:
        backend = self.settings.encoder.backend
        return self.sentence_fingerprint + ("" if backend == "torch" else f"-{backend}")

    @property
    def _has_own_layer(self) -> bool:
        """Whether a layer of the sentence encoder joins its vectors, from the same pass."""
        settings = self.settings
        return settings.features.model == "auto" and self._features.model != OFF and settings.encoder.backend == "torch"

    def _layered_encoder(self) -> "Encoder":
        from retrieval.text.encoder import load_encoder

        layers = self._features.layers
        fingerprint = f"{self._sentence_name}-{layers}"
        return load_encoder(self._encoder_folder, fingerprint, self.settings.device, beside=layers)

    @cached_property
    def _sentence_encoder(self) -> "Encoder":
        from retrieval.text.encoder import load_int8_encoder

        settings, fingerprint = self.settings, self._sentence_name
        if settings.encoder.backend == "torch":
            return self.torch_encoder(fingerprint)
        if settings.device not in (None, "cpu"):
            raise ModelError(
                f"the encoder backend onnx-int8 runs on the cpu alone, and the device is {settings.device!r}"
            )
        folder = settings.cache.expanduser() / "encoders" / fingerprint
        return load_int8_encoder(self._encoder_folder, fingerprint, folder, self.say)

    def torch_encoder(self, fingerprint: str, layers: Path | None = None) -> "SentenceEncoder":
        """The sentence encoder, loaded anew, computed by torch; ``layers`` take the place of its own.

        Raises:
            ModelError: it is not installed or cannot be loaded.
        """
        from retrieval.text.encoder import load_encoder

        return load_encoder(self._encoder_folder, fingerprint, self.settings.device, layers)

    def _hidden_states(self, fingerprint: str) -> "Encoder":
        from finetune.language_model import model_folder
        from retrieval.text.encoder import load_hidden_states

        folder = model_folder(self._features_source, self.settings.cache.expanduser(), self.say)
        return load_hidden_states(folder, self._features.layers, fingerprint, self.settings.device)

    @cached_property
    def _encoder_folder(self) -> Path:
        folder = locate_model(self.settings.encoder.model)
        if not folder.is_dir():
            raise ModelError(f"the encoder {self.settings.encoder.model!r} is a file; a folder is needed")
        return folder


def counts(path: Path) -> bool:
    """Whether a file of a model's folder has a say in what it computes."""
    return path.is_file() and path.suffix != ".md" and path.name[0] != "."
