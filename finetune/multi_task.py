"""Tune one adapter of a language model to rank and to write."""

from collections.abc import Callable
from dataclasses import replace

import torch

from finetune.language_model import LanguageModel
from finetune.lora import AdapterTrainer, LoraTuning
from finetune.packing import Packed, pack
from finetune.ranker import RANK, LMRanker, yes_or_no
from finetune.ranker_training import TrainingList, ranking_loss
from finetune.writer import LMWriter
from finetune.writer_training import Sentences, pack_sentences, writing_loss


class MultiTaskTrainer(AdapterTrainer[TrainingList | Sentences]):
    """Trains one adapter, named as a ranker's: ``L = L_rank + λ L_write``, each the mean over its part of a step.

    ``L_rank`` is the loss of `RankerTrainer`, ``L_write`` that of `WriterTrainer`. A step has as many lists and as many
    groups of sentences as those have in a step of theirs. With λ = 0 the adapter is that of `RankerTrainer`.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        lists: Callable[[int], TrainingList],
        sentences: Callable[[int], Sentences],
        steps: int,
        tuning: LoraTuning,
        weight: float,
    ):
        """``lists`` and ``sentences`` give the examples of a number; ``weight`` is λ, the other arguments are as in
        `AdapterTrainer`, ``tuning.lists`` of either task."""

        def draw(number: int) -> TrainingList | Sentences:
            return sentences(number // 2) if number % 2 else lists(number // 2)

        super().__init__(language_model, RANK, draw, steps, replace(tuning, lists=2 * tuning.lists))
        self._weight = weight
        self._ranker, self._direction = LMRanker(language_model), yes_or_no(language_model)
        self._writer = LMWriter(language_model)
        self._head: torch.Tensor = language_model.model.get_output_embeddings().weight.detach()

    def _packed(self, example: TrainingList | Sentences) -> Packed:
        if isinstance(example, Sentences):
            return pack_sentences(self._writer, example)
        return pack(*self._ranker.tokens(example.request))

    def _loss(self, states: torch.Tensor, packed: Packed, example: TrainingList | Sentences) -> torch.Tensor:
        """Twice a task's, as a step's is the mean over the examples of both."""
        if isinstance(example, Sentences):
            return 2 * self._weight * writing_loss(states, packed, self._head, self._precision)
        scores = states[[path[-1] for path in packed.paths]] @ self._direction
        return 2 * ranking_loss(scores, example, self._tuning.calibration)
