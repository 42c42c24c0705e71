"""Low-rank adapters of a language model: put in, switched on for a while, saved and loaded, in the layout of peft."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from peft.functional import get_peft_model_state_dict, inject_adapter_in_model, set_adapter, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from finetune.language_model import LanguageModel
from retrieval.errors import ModelError, first_line

WEIGHTS = "adapter_model.safetensors"


def add_adapter(language_model: LanguageModel, name: str, config: PeftConfig) -> None:
    """Put an adapter into the model, which computes as it came except within `using`.

    Raises:
        ModelError: the model has no such layers.
    """
    try:
        with warnings.catch_warnings():
            # Several adapters in one model are what is wanted.
            warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute", category=UserWarning)
            inject_adapter_in_model(config, language_model.model, name)
    except ValueError as error:
        raise ModelError(f"this language model cannot be tuned: {first_line(error)}") from error
    _switch(language_model, on=False)


@contextlib.contextmanager
def using(language_model: LanguageModel, name: str | None) -> Iterator[None]:
    """Within the block an adapter computes along; None: the model as it came."""
    if name is None:
        yield
        return
    _switch(language_model, on=True)
    set_adapter(language_model.model, name)
    try:
        yield
    finally:
        _switch(language_model, on=False)


def _switch(language_model: LanguageModel, *, on: bool) -> None:
    for module in language_model.model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(enabled=on)


def save_adapter(language_model: LanguageModel, name: str, folder: Path, base: str) -> None:
    """Write an adapter into a folder, in half precision; ``base`` is what the settings call its model."""
    config = language_model.model.peft_config[name]
    config.base_model_name_or_path = base
    config.save_pretrained(str(folder))
    learnt = get_peft_model_state_dict(language_model.model, adapter_name=name, save_embedding_layers=False)
    half = {key: value.detach().to(torch.float16).cpu().contiguous() for key, value in learnt.items()}
    save_file(half, folder / WEIGHTS)


def load_adapter(
    language_model: LanguageModel, name: str, folder: Path, *, learning: bool = False, cut: bool = False
) -> None:
    """Put the adapter in a folder into the model (`add_adapter`); ``learning``: to be tuned further.

    cut: what it has for layers that were dropped is left out.

    Raises:
        ModelError: it cannot be read, or belongs to another kind of model.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = not learning
        learnt = load_file(folder / WEIGHTS)
        if cut:
            learnt = _within(learnt, int(language_model.model.config.num_hidden_layers))
        add_adapter(language_model, name, config)
        found: Any = set_peft_model_state_dict(language_model.model, learnt, adapter_name=name)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"the adapter in {folder} cannot be read: {first_line(error)}") from error
    lost = [key for key in found.missing_keys if f".{name}." in key]
    if lost or found.unexpected_keys:
        wrong = [*lost, *found.unexpected_keys][0]
        raise ModelError(f"the adapter in {folder} belongs to another language model: {wrong} does not fit")
    if not learning:  # beside integers peft leaves it in the precision of its file
        for key, value in language_model.model.named_parameters():
            if f".{name}." in key:
                value.data = value.data.to(language_model.model.dtype)
    _switch(language_model, on=False)


def reaches(folder: Path, layers: int) -> bool:
    """Whether the adapter in a folder has anything for the first layers."""
    return bool(_within(load_file(folder / WEIGHTS), layers))


def _within(learnt: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """The weights for the first layers."""
    number = re.compile(r"\.layers\.(\d+)\.")
    found = {key: number.search(key) for key in learnt}
    return {key: learnt[key] for key, place in found.items() if place is None or int(place[1]) < layers}
