"""Tune low-rank adapters of a language model, on packed sequences."""

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from accelerate import Accelerator, PartialState
from peft import LoraConfig
from torch import nn
from transformers.integrations import neftune_post_forward_hook

from finetune.adapters import add_adapter, load_adapter, using
from finetune.adversary import EmbeddingAdversary
from finetune.checkpoints import load_checkpoint, save_checkpoint
from finetune.language_model import LanguageModel
from finetune.packing import Packed, PackedBatch, batches, collate
from retrieval.errors import InputError, ModelError

LINEAR = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
Example = TypeVar("Example")


@dataclass(frozen=True)
class LoraTuning:
    """How an adapter is tuned.

    rank, alpha, dropout: of LoRA (Hu et al. 2021). share: of the layers that have it, the last ones; those below are
    computed without a graph. rate: of AdamW at its highest, after ``warmup`` of all steps, then falling as a cosine.
    lists: in a step. calibration: λ of a ranker's binary cross-entropy beside its softmax cross-entropy. noise: α of
    NEFTune (Jain et al. 2023), 0 for none. adversarial: λ of the loss on input embeddings that are moved by ``reach``
    against it (`EmbeddingAdversary`), 0 for none; it more than doubles the time, and is not in the loss that is told.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    share: float = 0.5
    rate: float = 8e-4
    warmup: float = 0.05
    decay: float = 0.01
    lists: int = 4
    calibration: float = 0.5
    noise: float = 5.0
    adversarial: float = 0.0
    reach: float = 1.0
    seed: int = 0


class TuningError(ModelError):
    """Training cannot go on."""


class AdapterTrainer(ABC, Generic[Example]):
    """Trains an adapter in place, step by step; the same steps give the same adapter, interrupted or not.

    Several processes (`accelerate launch`) share the examples of a step.
    """

    most_tokens = 2048  # computed at once, those that pad short examples included

    def __init__(
        self,
        language_model: LanguageModel,
        name: str,
        draw: Callable[[int], Example],
        steps: int,
        tuning: LoraTuning,
        start: Path | None = None,
    ):
        """``draw`` gives the example of a number; ``steps``: as many as there will be, which the rate depends on.

        name: of the adapter in the model. start: the folder of one to begin with, whose rank and layers stay as they
        are.

        Raises:
            InputError: there are more processes than examples in a step.
            ModelError: the model has no layers of a known kind.
        """
        self.step = 0
        self.steps = steps
        self._lm = language_model
        self._name = name
        self._draw = draw
        self._tuning = tuning
        torch.manual_seed(tuning.seed)
        config = lora_config(language_model, tuning)
        if start is None:
            add_adapter(language_model, name, config)
        else:
            load_adapter(language_model, name, start, learning=True)
        self._accelerator = Accelerator(cpu=language_model.device.type == "cpu")
        if tuning.lists < self._accelerator.num_processes:
            raise InputError(f"{self._accelerator.num_processes} processes cannot share {tuning.lists} lists a step")
        with using(language_model, name):
            self._learnt = {n: p for n, p in language_model.model.named_parameters() if p.requires_grad}
            self._backbone: nn.Module = self._accelerator.prepare_model(_Backbone(language_model))
        self._optimizer = torch.optim.AdamW(self._learnt.values(), lr=tuning.rate, weight_decay=tuning.decay)
        half = language_model.model.dtype == torch.bfloat16
        device = language_model.device.type
        self._adversary = EmbeddingAdversary(language_model.model.get_input_embeddings(), tuning.reach)
        self._precision = torch.autocast(device, dtype=torch.bfloat16) if half else contextlib.nullcontext()

    @abstractmethod
    def _packed(self, example: Example) -> Packed:
        """What the model reads of an example, T tokens."""

    @abstractmethod
    def _loss(self, states: torch.Tensor, packed: Packed, example: Example) -> torch.Tensor:
        """The loss of an example from (T, d) the backbone's states."""

    def run(self, steps: int, progress: Callable[[float], None] = lambda _: None) -> float:
        """Train so many steps more, at most to the last; the mean loss. ``progress`` is told that of each step.

        Raises:
            TuningError: the loss is no number; the adapter is as it was before the step.
        """
        losses = []
        model = self._lm.model
        embedding = model.get_input_embeddings()
        embedding.neftune_noise_alpha = self._tuning.noise
        hook = embedding.register_forward_hook(neftune_post_forward_hook) if self._tuning.noise else None
        model.train()
        try:
            with using(self._lm, self._name):
                for _ in range(min(steps, self.steps - self.step)):
                    losses.append(self._advance())
                    self.step += 1
                    progress(losses[-1])
        finally:
            model.eval()
            if hook is not None:
                hook.remove()
        return sum(losses) / max(1, len(losses))

    def _advance(self) -> float:
        world, place = self._accelerator.num_processes, self._accelerator.process_index
        first = self.step * self._tuning.lists
        numbers = range(first, first + self._tuning.lists)
        torch.manual_seed(hash((self._tuning.seed, self.step, place)) % 2**31)
        examples = [self._draw(number) for number in numbers[place::world]]
        packed = [self._packed(one) for one in examples]
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        self._optimizer.zero_grad()
        total = torch.zeros((), device=self._lm.device)
        groups = batches([len(one.ids) for one in packed], self.most_tokens)
        passes = ["plain", "moved"] if self._tuning.adversarial > 0 else ["plain"]
        for (number, members), one in itertools.product(enumerate(groups), passes):
            last = number == len(groups) - 1 and one == passes[-1]
            with contextlib.nullcontext() if last else self._accelerator.no_sync(self._backbone):
                batch = collate([packed[index] for index in members], self._lm.device)
                with self._precision, self._embedding(one):
                    states = self._backbone(batch).float()
                losses = [
                    self._loss(found, packed[index], examples[index])
                    for found, index in zip(states, members, strict=True)
                ]
                loss = torch.stack(losses).sum() * world / self._tuning.lists
                self._accelerator.backward(loss * self._tuning.adversarial if one == "moved" else loss)
            if one == "plain":
                total += loss.detach()
        value = float(self._accelerator.reduce(total, "mean"))
        norm = nn.utils.clip_grad_norm_(list(self._learnt.values()), 1.0)
        if not math.isfinite(value) or not torch.isfinite(norm):
            raise TuningError(
                f"the loss is no number any more at step {self.step + 1}; the adapter is kept as it was before. A "
                "lower rate may help"
            )
        self._optimizer.step()
        return value

    def _embedding(self, one: str) -> contextlib.AbstractContextManager[None]:
        """How a pass embeds its tokens."""
        if self._tuning.adversarial == 0:
            return contextlib.nullcontext()
        return self._adversary.moving() if one == "moved" else self._adversary.watching()

    def _rate(self) -> float:
        warm = max(1, round(self._tuning.warmup * self.steps))
        if self.step < warm:
            return self._tuning.rate * (self.step + 1) / warm
        return self._tuning.rate * 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, self.steps - warm)))

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self._accelerator.is_main_process)

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """What the first process does in the block the others wait for, and find done."""
        with self._accelerator.main_process_first():
            yield
        self._accelerator.wait_for_everyone()

    def adapter(self) -> dict[str, torch.Tensor]:
        """What was learnt, by name."""
        return {name: value.detach().float().cpu().clone() for name, value in self._learnt.items()}

    def put(self, adapter: dict[str, torch.Tensor]) -> None:
        """Set what was learnt, as `adapter` gave it."""
        with torch.no_grad():
            for name, value in self._learnt.items():
                value.copy_(adapter[name])

    def save(self, path: Path, notes: str = "") -> None:
        """Write all that is needed to go on, and ``notes``."""
        if self.is_first:
            save_checkpoint(path, self.step, self._learnt, self._optimizer, notes)
        self._accelerator.wait_for_everyone()

    def restore(self, path: Path) -> str:
        """Go on from what `save` wrote; the notes.

        Raises:
            WorkspaceError: it cannot be read, or is of another model.
        """
        self.step, notes = load_checkpoint(path, self._learnt, self._optimizer)
        return notes


def processes(device: str | None) -> PartialState:
    """The processes that were started to train together; ``device`` as in the settings."""
    return PartialState(cpu=device == "cpu" or not torch.cuda.is_available())


class _Backbone(nn.Module):
    """What the backbone makes of packed sequences, as one module that several processes can share."""

    def __init__(self, language_model: LanguageModel):
        super().__init__()
        self.model = language_model.model
        self._lm = language_model

    def forward(self, batch: PackedBatch) -> torch.Tensor:
        """(B, T, d)."""
        return self._lm.backbone(batch)


def lora_config(language_model: LanguageModel, tuning: LoraTuning) -> LoraConfig:
    """Low-rank adapters of all linear maps in the model's last layers; everything else is frozen."""
    for parameter in language_model.model.parameters():
        parameter.requires_grad_(requires_grad=False)
    deep = int(language_model.model.config.num_hidden_layers)
    layers = "|".join(str(layer) for layer in range(deep - max(1, round(tuning.share * deep)), deep))
    return LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=rf".*layers\.({layers})\..*({LINEAR})",
    )
