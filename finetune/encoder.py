"""Tune the last layers of a sentence encoder on what people like together."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.sparse import csr_array, diags_array
from torch import nn
from torch.nn import functional

from finetune.augmentation import TextDropout
from finetune.checkpoints import load_checkpoint, save_checkpoint
from retrieval.errors import InputError, ModelError
from retrieval.precision import computes_bfloat16
from retrieval.ranking import Floats
from retrieval.text.encoder import SentenceEncoder
from retrieval.text.whitening import Whitening

FEWEST = 2  # people who like an item that is learnt from
PAIR = 2
GROUPS = 4  # of texts of like length, so that little is padded


@dataclass(frozen=True)
class EncoderTuning:
    """layers: how many of the last are tuned. rate: of AdamW, reached after ``warmup`` steps and kept.

    items: in a step. scale: of cosines in the softmax. seed: for the items drawn. The defaults are from trials on
    validation draws of MovieLens-small (DECISIONS.md). forgotten: the share of a text's words left out at each sight.
    """

    layers: int = 2
    rate: float = 1e-4
    warmup: int = 12
    items: int = 192
    scale: float = 10.0
    decay: float = 0.01
    seed: int = 0
    forgotten: float = 0.0


@dataclass(frozen=True)
class Batch:
    """columns: (b,) of items. targets: (b, b) how alike their users are, rows of sum 1. weights: (b,) of sum 1."""

    columns: NDArray[np.int64]
    targets: Floats
    weights: Floats


class CoLikes:
    """Which items the same people like; ``liked`` (n, m) has an entry where a user likes an item."""

    def __init__(self, liked: csr_array, items: int, seed: int):
        """Steps of at most ``items`` items.

        Raises:
            InputError: no two items are liked by two people each.
        """
        self._counts = np.bincount(liked.indices, minlength=liked.shape[1])
        self._known = np.flatnonzero(self._counts >= FEWEST)
        if len(self._known) < PAIR:
            raise InputError("an encoder learns from items that people like together, and these events have none")
        self._size = min(items, len(self._known))
        self._seed = seed
        odds = np.sqrt(self._counts[self._known])
        self._odds = odds / odds.sum()
        shares = np.maximum(np.diff(liked.indptr), 1) ** -0.5
        self._liked = liked.tocsc()
        self._shared = csr_array(diags_array(shares) @ liked).tocsc()

    def batch(self, step: int) -> Batch:
        """Items drawn ∝ √(people who like them), and for each pair ``Σ_u 1/√n_u`` over who likes both, scaled.

        The sums are divided by the root of the product of both items' own, so that popular items are no everybody's
        neighbours; n_u is how much a user likes. An item without any company in the batch has weight 0.
        """
        rng = np.random.default_rng([self._seed, step])
        columns = rng.choice(self._known, self._size, replace=False, p=self._odds)
        together = (self._liked[:, columns].T @ self._shared[:, columns]).toarray().astype(np.float32)
        own = together.diagonal().copy()
        np.fill_diagonal(together, 0)
        together /= np.sqrt(own[:, None] * own[None, :])
        totals = together.sum(axis=1)
        targets = np.divide(together, totals[:, None], out=np.zeros_like(together), where=totals[:, None] > 0)
        weights = np.sqrt(self._counts[columns]) * (totals > 0)
        total = max(float(weights.sum()), 1e-9)
        return Batch(columns.astype(np.int64), targets, (weights / total).astype(np.float32))


class EncoderTrainer:
    """Trains an encoder in place, step by step; the same steps give the same layers, interrupted or not.

    The loss is that of ranking against the other items of a batch (InfoNCE; van den Oord et al. 2018) over all its
    pairs at once: the cross-entropy between the softmax of scaled cosines and `Batch.targets`. That is its expectation
    over pairs of co-liked items drawn ∝ 1/√(popularity of both), and no co-liked item counts as a negative. Cosines are
    those of whitened vectors, in which items are compared later.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        texts: Sequence[str],
        liked: csr_array,
        whitening: Whitening,
        tuning: EncoderTuning,
    ):
        """``texts``: (m,) of the items in the columns of ``liked`` (n, m); ``whitening`` of their untuned vectors.

        Raises:
            InputError: there is nothing to learn from.
            ModelError: the encoder has no layers that can be tuned.
        """
        self.encoder = encoder
        self.step = 0
        self._texts = texts
        self._tuning = tuning
        self._dropout = TextDropout(tuning.forgotten)
        self._pairs = CoLikes(liked, tuning.items, tuning.seed)
        self._model = encoder.module.eval()  # without dropout: a few steps overfit less than they forget
        self._learnt = last_layers(self._model, tuning.layers)
        self._optimizer = torch.optim.AdamW(self._learnt.values(), lr=tuning.rate, weight_decay=tuning.decay)
        device = next(self._model.parameters()).device
        self._white = [
            torch.from_numpy(part).to(device) for part in (whitening.mean, whitening.scale, whitening.common)
        ]
        half = device.type == "cpu" and computes_bfloat16()
        self._precision = torch.autocast("cpu", dtype=torch.bfloat16) if half else contextlib.nullcontext()

    def run(self, steps: int, progress: Callable[[], None] = lambda: None) -> float:
        """Train so many steps more; the mean loss above its least possible value, nats."""
        losses = []
        for _ in range(steps):
            losses.append(self._advance(self._pairs.batch(self.step)))
            self.step += 1
            progress()
        return float(np.mean(losses)) if losses else 0.0

    def _advance(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._tuning.rate * min(1.0, (self.step + 1) / self._tuning.warmup)
        rng = np.random.default_rng([self._tuning.seed, self.step, 1])
        vectors = self._vectors([self._dropout(self._texts[column], rng) for column in batch.columns])  # (b, d)
        cosines = self._tuning.scale * vectors @ vectors.T
        itself = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
        logarithms = functional.log_softmax(cosines.masked_fill(itself, -1e4), dim=1)
        targets, weights = (torch.from_numpy(part).to(cosines.device) for part in (batch.targets, batch.weights))
        loss = -(weights * (targets * logarithms).sum(dim=1)).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(list(self._learnt.values()), 1.0)
        self._optimizer.step()
        least = -(weights * torch.special.xlogy(targets, targets).sum(dim=1)).sum()
        return float(loss.detach() - least)

    def _vectors(self, texts: list[str]) -> torch.Tensor:
        """(b, d) whitened vectors with gradients."""
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        groups = np.array_split(by_length, min(GROUPS, len(texts)))
        with self._precision:
            parts = [self.encoder.embed([texts[row] for row in rows]).float() for rows in groups]
        mean, scale, common = self._white
        back = torch.from_numpy(np.argsort(by_length)).to(mean.device)
        standard = (functional.normalize(torch.cat(parts)[back], dim=1) - mean) * scale
        return functional.normalize(standard - (standard @ common.T) @ common, dim=1)

    def save_layers(self, path: Path) -> None:
        """Write the tuned layers; `load_encoder` puts them in place of the untuned ones."""
        save_file({name: value.detach().float().cpu().contiguous() for name, value in self._learnt.items()}, path)

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        save_checkpoint(path, self.step, self._learnt, self._optimizer)

    def restore(self, path: Path) -> None:
        """Go on from what `save` wrote.

        Raises:
            WorkspaceError: it cannot be read, or is of another encoder.
        """
        self.step, _ = load_checkpoint(path, self._learnt, self._optimizer)


def last_layers(model: nn.Module, count: int) -> dict[str, nn.Parameter]:
    """The parameters of the last layers by name; all others are frozen.

    Raises:
        ModelError: the model is no stack of layers.
    """
    stacks = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise ModelError("this encoder has no layers that can be tuned; choose another: WHYREC_ENCODER__MODEL")
    chosen = {id(part) for layer in max(stacks, key=len)[-count:] for part in layer.parameters()}
    for part in model.parameters():
        part.requires_grad_(id(part) in chosen)
    return {name: part for name, part in model.named_parameters() if part.requires_grad}
