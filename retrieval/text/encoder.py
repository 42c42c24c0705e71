"""Sentence-transformer embeddings; the only module that imports sentence-transformers."""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.nn.functional import normalize
from transformers import PreTrainedModel
from transformers.utils import logging

from retrieval.errors import ModelError, first_line
from retrieval.precision import computes_bfloat16
from retrieval.ranking import Floats
from retrieval.text.int8 import Int8Transformer, convert

BATCH = 64
MOST_TOKENS = 256  # of an item's text, for hidden states


class SentenceEncoder:
    """A sentence-transformer with unit-length float32 vectors (`Encoder`).

    ``beside``: the mean of the hidden states behind this layer stands beside it, also of length 1.
    """

    def __init__(self, model: SentenceTransformer, fingerprint: str, beside: int | None = None):
        self._model = model
        self.fingerprint = fingerprint
        width = int(model.get_embedding_dimension() or 0)
        self._parts = 1
        if beside is not None:
            model[0].model.config.output_hidden_states = True
            model.append(_LayerBeside(beside, width))
            self._parts = 2
        self.dimension = self._parts * width
        # bfloat16 changes a vector's elements by up to .0014 and halves the time, where the processor has it.
        self._half = model.device.type == "cpu" and computes_bfloat16()

    @property
    def module(self) -> torch.nn.Module:
        """The model itself, to be tuned; on a processor with the attention that trains fastest there."""
        if self._model.device.type == "cpu":
            for part in self._model.modules():
                if isinstance(part, PreTrainedModel):
                    part.set_attn_implementation("eager")  # the gradient of the other takes two thirds of a step
        module: torch.nn.Module = self._model
        return module

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, d) as the model gives them, with gradients where its parameters have them."""
        features = self._model.preprocess([_readable(text) for text in texts])
        moved = {name: one.to(self._model.device) if torch.is_tensor(one) else one for name, one in features.items()}
        vectors: torch.Tensor = self._model(moved)["sentence_embedding"]
        return vectors

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32, each part of length 1, 0 for a blank text; the model cuts texts longer than it reads."""
        precision = torch.autocast("cpu", dtype=torch.bfloat16) if self._half else contextlib.nullcontext()
        readable = [_readable(text) for text in texts]
        said = [row for row, text in enumerate(readable) if text.strip()]
        unit = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if not said:
            return unit
        with precision:
            vectors = self._model.encode(
                [readable[row] for row in said], batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False
            )
        parts = vectors.astype(np.float32).reshape(len(said), self._parts, -1)
        lengths = np.linalg.norm(parts, axis=2, keepdims=True)
        unit[said] = (parts / np.maximum(lengths, 1e-12)).reshape(len(said), -1)
        return unit

    def quantise(self, folder: Path, say: Callable[[str], None]) -> None:
        """Let the int8 conversion of the transformer, which is in ``folder`` or is written there, compute from now on.

        Raises:
            ModelError: it cannot be converted.
        """
        first = self._model[0]
        if not isinstance(first, Transformer) or first.modality_config["text"]["method"] != "forward":
            raise ModelError("only an encoder that begins with a transformer of text can be converted to int8")
        first.model = Int8Transformer(convert(first.model, folder, say), first.model.config)


class _LayerBeside(torch.nn.Module):
    """The mean of the states behind a layer, beside the text's own vector: both from one pass of the transformer."""

    def __init__(self, layer: int, width: int):
        super().__init__()
        self._layer = layer
        self._pooling = Pooling(width, "mean")

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        states = features.pop("all_layer_embeddings")[self._layer]
        mask = features["attention_mask"]
        behind = self._pooling({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"]
        sentence = features["sentence_embedding"]
        features["sentence_embedding"] = torch.cat([normalize(sentence), normalize(behind)], dim=1)
        return features


def _readable(text: str) -> str:
    """Half a character, which a file or a terminal may hold, is none to a tokenizer."""
    return text.encode("utf-8", "replace").decode("utf-8")


def load_encoder(
    path: Path, fingerprint: str, device: str | None = None, layers: Path | None = None, *, beside: int | None = None
) -> SentenceEncoder:
    """Load the sentence-transformer in a folder; ``device`` None takes a GPU when there is one.

    ``layers``: a file of tuned layers that replace its own. ``beside``: the mean of the hidden states behind this layer
    joins the vectors, from the same pass.

    Raises:
        ModelError: the folder holds no such model, or the layers are damaged or of another one.
    """
    try:
        model = SentenceTransformer(str(path), device=device, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} holds no sentence-transformer that can be loaded: {first_line(error)}") from error
    if layers is not None:
        try:
            unknown = model.load_state_dict(load_file(layers), strict=False).unexpected_keys
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{layers} holds no layers for the model in {path}: {first_line(error)}") from error
        if unknown:
            raise ModelError(f"{layers} holds layers that the model in {path} does not have, such as {unknown[0]}")
    return SentenceEncoder(model, fingerprint, beside)


def load_int8_encoder(
    path: Path, fingerprint: str, folder: Path, say: Callable[[str], None] = lambda _: None
) -> SentenceEncoder:
    """The sentence-transformer in ``path`` with its transformer in int8, on the processor; converted once.

    Raises:
        ModelError: the folder holds no such model, or it cannot be converted.
    """
    encoder = load_encoder(path, fingerprint, "cpu")
    encoder.quantise(folder, say)
    return encoder


def load_hidden_states(path: Path, layers: int, fingerprint: str, device: str | None = None) -> SentenceEncoder:
    """The first layers of the causal language model in a folder as an encoder: the mean of its hidden states.

    The middle layers of a language model know what an item is; the last ones, what word comes next. Each token's state
    passes the model's final normalisation first, so that no token drowns the others.

    Raises:
        ModelError: the folder holds no such model, or one with fewer layers.
    """
    logging.set_verbosity_error()  # or it lists the layers that were left out
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        deep = int(config["num_hidden_layers"])
        if not 1 <= layers <= deep:
            raise ModelError(f"the language model in {path} has {deep} layers; item features cannot come from {layers}")
        cut = {"num_hidden_layers": layers}
        if "layer_types" in config:
            cut["layer_types"] = config["layer_types"][:layers]
        local = {"local_files_only": True}
        backbone = Transformer(
            str(path),
            config_kwargs={**cut, **local},
            model_kwargs=local,
            processor_kwargs=local,
            max_seq_length=MOST_TOKENS,
        )
        tokenizer = backbone.tokenizer
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        modules = [backbone, Pooling(backbone.get_embedding_dimension(), "mean")]
        return SentenceEncoder(SentenceTransformer(modules=modules, device=device), fingerprint)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"{path} holds no language model whose layers can be read: {first_line(error)}") from error
