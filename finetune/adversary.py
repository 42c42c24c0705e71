"""Adversarial training on a language model's input embeddings: the fast gradient method."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn


class EmbeddingAdversary:
    """Moves what is embedded by ε along the gradient of the loss (FGM; Miyato, Dai & Goodfellow 2017, equation 5).

    Each sequence (T, d) is moved as a whole, by a change of norm ε. The embeddings themselves are never written to.
    """

    def __init__(self, embedding: nn.Module, reach: float):
        """``reach``: ε."""
        self._embedding = embedding
        self._reach = reach
        self._watched: torch.Tensor | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """The forward pass in the block has a gradient with respect to what is embedded."""

        def watch(embedded: torch.Tensor) -> torch.Tensor:
            self._watched = torch.zeros_like(embedded, requires_grad=True)
            return self._watched

        with self._adding(watch):
            yield

    @contextlib.contextmanager
    def moving(self) -> Iterator[None]:
        """The forward pass in the block, of the same sequences, is of what is moved; after the backward pass of the
        one that was watched.
        """
        with self._adding(lambda embedded: self.change().to(embedded.dtype)):
            yield

    def change(self) -> torch.Tensor:
        """(B, T, d) by how much what was watched is moved; 0 where it has no gradient."""
        if self._watched is None or self._watched.grad is None:
            raise RuntimeError("nothing was watched, or its loss has not been gone back through")
        slope = self._watched.grad.float()
        return self._reach * nn.functional.normalize(slope.flatten(1), dim=1, eps=1e-30).view_as(slope)

    @contextlib.contextmanager
    def _adding(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        hook = self._embedding.register_forward_hook(lambda _, __, embedded: embedded + change(embedded))
        try:
            yield
        finally:
            hook.remove()
