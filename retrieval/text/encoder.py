"""Sentence-transformer embeddings; the only module that imports sentence-transformers."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from retrieval.errors import ModelError, first_line
from retrieval.precision import computes_bfloat16
from retrieval.ranking import Floats

BATCH = 64


class SentenceEncoder:
    """A sentence-transformer with unit-length float32 vectors (`Encoder`)."""

    def __init__(self, model: SentenceTransformer, fingerprint: str):
        self._model = model
        self.fingerprint = fingerprint
        self.dimension = int(model.get_embedding_dimension() or 0)
        # bfloat16 changes a vector's elements by up to .0014 and halves the time, where the processor has it.
        self._half = model.device.type == "cpu" and computes_bfloat16()

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32, each row of length 1; texts longer than the model reads are cut by it."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        precision = torch.autocast("cpu", dtype=torch.bfloat16) if self._half else contextlib.nullcontext()
        with precision:
            vectors = self._model.encode(list(texts), batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False)
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
        unit: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit


def load_encoder(path: Path, fingerprint: str, device: str | None = None) -> SentenceEncoder:
    """Load the sentence-transformer in a folder; ``device`` None takes a GPU when there is one.

    Raises:
        ModelError: the folder holds no such model.
    """
    try:
        return SentenceEncoder(SentenceTransformer(str(path), device=device, local_files_only=True), fingerprint)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} holds no sentence-transformer that can be loaded: {first_line(error)}") from error
