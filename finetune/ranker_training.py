"""Tune a language model to rank: what a list teaches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from finetune.language_model import LanguageModel
from finetune.lora import AdapterTrainer, LoraTuning
from finetune.packing import Packed, pack
from finetune.ranker import RANK, LMRanker, yes_or_no
from retrieval.contracts import RankRequest


@dataclass(frozen=True)
class TrainingList:
    """What is asked, the positive candidates first, and for each (N,) the log-odds that are known already.

    positives: how many there are; a list of nothing but positives or negatives says nothing of order.
    """

    request: RankRequest
    prior: Sequence[float]
    positives: int = 1


class RankerTrainer(AdapterTrainer[TrainingList]):
    """Trains the adapter of a ranker.

    ``L = −mean log softmax(s + p)_positive + λ · mean BCE(s + p)``, s the scores of `LMRanker`, p the prior of a list,
    the softmax for each positive one over it and the negatives: the first orders, the second keeps σ(s + p) a
    probability. With p in the loss the model learns what the retriever does not know, as a learner in boosting does
    (Friedman 2001), and not once more what it knows.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        draw: Callable[[int], TrainingList],
        steps: int,
        tuning: LoraTuning,
        start: Path | None = None,
    ):
        """As `AdapterTrainer`."""
        super().__init__(language_model, RANK, draw, steps, tuning, start)
        self._ranker = LMRanker(language_model)
        self._direction = yes_or_no(language_model)

    def _packed(self, example: TrainingList) -> Packed:
        return pack(*self._ranker.tokens(example.request))

    def _loss(self, states: torch.Tensor, packed: Packed, example: TrainingList) -> torch.Tensor:
        scores = states[[path[-1] for path in packed.paths]] @ self._direction
        return ranking_loss(scores, example, self._tuning.calibration)


def ranking_loss(scores: torch.Tensor, example: TrainingList, calibration: float) -> torch.Tensor:
    """``L`` of `RankerTrainer` from (N,) the scores of a list's candidates; ``calibration`` is its λ."""
    both = scores + torch.tensor(example.prior, device=scores.device)
    labels = torch.zeros_like(both)
    labels[: example.positives] = 1
    balance = functional.binary_cross_entropy_with_logits(both, labels)
    liked, others = both[: example.positives], both[example.positives :]
    order = (torch.logaddexp(liked, others.logsumexp(0)) - liked).mean() if len(liked) else both.new_zeros(())
    return order + calibration * balance
