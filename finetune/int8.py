"""A language model's weights in eight-bit integers: half the memory of bfloat16, a quarter of that of float32."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from retrieval.artefacts import atomic_folder
from retrieval.errors import ModelError, first_line

WEIGHTS = "int8.safetensors"
LARGEST = 127
BLOCK = 4096  # rows of a matrix that are made floating point at once: an output head's must not stand there whole


class Int8Linear(nn.Linear):
    """``x Wᵀ + b``; W is stored as integers with a scale for each row, and computed with in the precision of x.

    Activations are not rounded, so what a text gets does not depend on what is computed beside it. Adapters take it for
    the linear layer that it is.
    """

    def __init__(self, plain: nn.Linear):
        """``plain``: on the meta device, a place for what is loaded later."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.scale = _rounded(plain.weight)
        self.bias = plain.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name that nn.Linear has
        """(…, in_features) to (…, out_features)."""
        parts = [functional.linear(input, rows.to(input.dtype)) for rows in torch.split(self.weight, BLOCK)]
        product = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)) * self.scale.to(input.dtype)
        return product if self.bias is None else product + self.bias


class Int8Embedding(nn.Embedding):
    """Rows of a table that is stored as integers with a scale for each row."""

    def __init__(self, plain: nn.Embedding):
        """``plain`` as for `Int8Linear`; a factor of all rows that it has, as Gemma's, stays."""
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim = plain.num_embeddings, plain.embedding_dim
        self.weight, self.scale = _rounded(plain.weight)
        factor = getattr(plain, "embed_scale", None)
        self.factor: torch.Tensor | None
        self.register_buffer("factor", None if factor is None else torch.as_tensor(factor), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name that nn.Embedding has
        """(…) token ids to (…, d), in the precision of the scales."""
        found = rows_of(self, input)
        return found if self.factor is None else found * self.factor.to(found.dtype)


def rows_of(layer: nn.Module, rows: Any) -> torch.Tensor:
    """Some rows of a layer's weights as floating point, whether they are stored as integers or not."""
    weight: Any = layer.weight
    if not isinstance(layer, Int8Linear | Int8Embedding):
        found: torch.Tensor = weight[rows]
        return found
    scale: torch.Tensor = layer.scale[rows]
    floats: torch.Tensor = weight[rows].to(scale.dtype)
    return floats * scale.unsqueeze(-1)


def _rounded(weight: torch.Tensor) -> tuple[nn.Parameter, nn.Parameter]:
    """(n, m) int8 and (n,) the scale of each row, as a bfloat16 can have it."""
    if weight.is_meta:
        values, scale = weight.to(torch.int8), weight[:, 0]
    else:
        largest = weight.detach().float().abs().amax(dim=1).clamp(min=1e-12)
        scale = (largest / LARGEST).bfloat16().float()
        values = (weight.detach().float() / scale[:, None]).round().clamp(-LARGEST, LARGEST).to(torch.int8)
    return nn.Parameter(values, requires_grad=False), nn.Parameter(scale.to(weight.dtype), requires_grad=False)


def to_int8(model: PreTrainedModel) -> None:
    """Round all linear layers and the table of tokens, in place; a head that shares the table shares it still."""
    kinds: dict[type[nn.Module], Callable[[Any], nn.Module]] = {nn.Linear: Int8Linear, nn.Embedding: Int8Embedding}
    head, tied = model.get_output_embeddings(), bool(model.config.tie_word_embeddings)
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            kind = next((kind for kind in kinds if isinstance(layer, kind)), None)
            if kind is not None and not (tied and layer is head):
                setattr(parent, name, kinds[kind](layer))
    if tied:
        with torch.device("meta"):
            shared = Int8Linear(nn.Linear(head.in_features, head.out_features, bias=False))
        model.set_output_embeddings(shared)
        _tie(model)


def _tie(model: PreTrainedModel) -> None:
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    head.weight, head.scale = table.weight, table.scale


def weight_bytes(model: nn.Module) -> int:
    """How much memory the weights take; what is shared counts once."""
    held = {one.untyped_storage().data_ptr(): one for one in (*model.parameters(), *model.buffers())}
    return sum(one.nbytes for one in held.values())


def save_int8(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model that `to_int8` rounded into ``folder``, which another process may have finished first."""
    shared = _shared(model)
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name not in shared}
    with contextlib.suppress(FileExistsError), atomic_folder(folder) as target:
        save_file(state, target / WEIGHTS)
        model.config.save_pretrained(target)
        tokenizer.save_pretrained(target)


def load_int8(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What `save_int8` wrote, to be computed in ``dtype``. The weights stay where they are in the file until used.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        to_int8(model)
        found = model.load_state_dict(load_file(folder / WEIGHTS), strict=False, assign=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the int8 language model in {folder} cannot be read ({first_line(error)}); delete it"
        ) from error
    if found.unexpected_keys or set(found.missing_keys) != _shared(model):
        raise ModelError(f"the int8 language model in {folder} lacks weights, or has others; delete it")
    if model.config.tie_word_embeddings:
        _tie(model)
    return model.to(dtype).eval(), tokenizer


def _shared(model: PreTrainedModel) -> set[str]:
    """What the head shares with the table of tokens, by name."""
    if not model.config.tie_word_embeddings:
        return set()
    head = model.get_output_embeddings()
    prefix = next(name for name, layer in model.named_modules() if layer is head)
    return {f"{prefix}.weight", f"{prefix}.scale"}
