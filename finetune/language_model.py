"""Load a causal language model from a Hugging Face id, a folder or a GGUF file, in the precision the machine likes."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from finetune.int8 import load_int8, rows_of, save_int8, to_int8
from finetune.packing import Packed, PackedBatch, batches, collate
from retrieval.artefacts import atomic_folder, file_fingerprint
from retrieval.errors import ModelError, first_line
from retrieval.precision import computes_bfloat16

MAX_BATCH_TOKENS = 4096
Precision = Literal["auto", "float32", "bfloat16", "int8", "4bit"]


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in evaluation mode, with its tokenizer; folder: what it was loaded from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path = Path()

    @property
    def file_bytes(self) -> int:
        """How much its weights take on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return torch.device(self.model.device)

    @functools.cached_property
    def start_ids(self) -> list[int]:
        """The tokens this model expects before any text: ``[bos]`` or nothing."""
        return list(self.tokenizer("").input_ids)

    def backbone(self, batch: PackedBatch) -> torch.Tensor:
        """(B, T, d) what the backbone makes of each token; the head stays out."""
        states: torch.Tensor = self.model.base_model(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False
        ).last_hidden_state
        return states

    @torch.inference_mode()
    def hidden_states(self, sequences: Sequence[Packed]) -> list[torch.Tensor]:
        """For each packed sequence (T, d) float32, what the backbone makes of its tokens."""
        states: list[torch.Tensor] = [torch.empty(0)] * len(sequences)
        for group in batches([len(sequence.ids) for sequence in sequences], MAX_BATCH_TOKENS):
            batch = collate([sequences[index] for index in group], self.device)
            hidden = self.backbone(batch)
            for row, index in enumerate(group):
                states[index] = hidden[row, : len(sequences[index].ids)].float()
        return states

    def head(self, tokens: Sequence[int]) -> torch.Tensor:
        """The output head's rows of these tokens, (n, d) float32."""
        return rows_of(self.model.get_output_embeddings(), list(tokens)).detach().float()

    def text_ids(self, text: str) -> list[int]:
        """Tokens of plain text. Control tokens written in it, such as ``<|im_end|>``, are read as letters."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    def word_id(self, word: str) -> int:
        """The token of a word that must be one token.

        Raises:
            ModelError: the tokenizer splits it.
        """
        ids = self.text_ids(word)
        if len(ids) != 1:
            raise ModelError(f"this language model cannot rank: its tokenizer splits {word!r} into {len(ids)} tokens")
        return ids[0]


def load_language_model(
    path: Path,
    cache: Path,
    *,
    device: str | None = None,
    precision: Precision = "auto",
    layers: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> LanguageModel:
    """Load the model in ``path``, a folder or a GGUF file; with ``layers``, so many of its first layers alone.

    A GGUF file is converted once into a folder under ``cache``, keyed by its content, which ``say`` is told. ``device``
    None takes a GPU when there is one. ``precision`` auto is bfloat16 on GPUs and processors that compute it, float32
    elsewhere, where bfloat16 would be far slower. int8 stores the weights in eight bits, once, in a folder under
    ``cache``, and computes as auto does. 4bit is NF4 (Dettmers et al. 2023), computed in bfloat16 on a GPU.

    Raises:
        ModelError: there is no model of a known kind, it has fewer layers, or the device does not compute this.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if precision == "int8":
        return _in_int8(path, cache, place, layers, say)
    options: dict[str, Any] = {"dtype": _dtype(place, precision)}
    if precision == "4bit":
        options |= {"quantization_config": _four_bits(place), "device_map": {"": place}}
    folder = model_folder(path, cache, say)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no language model that can be loaded: {first_line(error)}") from error
    if layers is not None:
        keep_layers(model, layers)
    placed = model if precision == "4bit" else model.to(place)
    return LanguageModel(placed.eval(), tokenizer, folder)


def keep_layers(model: PreTrainedModel, layers: int) -> None:
    """Drop all but the first layers; the last norm and the head stay.

    Raises:
        ModelError: it has fewer.
    """
    backbone, config = model.base_model, model.config
    if layers > len(backbone.layers):
        raise ModelError(
            f"the language model has {len(backbone.layers)} layers, and layers = {layers} under [language_model]"
        )
    backbone.layers = backbone.layers[:layers]
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


def _in_int8(
    path: Path, cache: Path, place: torch.device, layers: int | None, say: Callable[[str], None]
) -> LanguageModel:
    """The model in eight bits, made from the one in full precision on first use."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.suffix in (".json", ".safetensors")]
    name = f"{path.stem}-{file_fingerprint(files)}" + (f"-{layers}" if layers else "")
    folder = cache / "int8" / name
    if not folder.is_dir():
        plain = load_language_model(path, cache, device="cpu", precision="float32", layers=layers, say=say)
        say(f"Rounding the language model {path.stem} to int8 in {folder} (once, a few seconds)")
        to_int8(plain.model)
        save_int8(plain.model, plain.tokenizer, folder)
    model, tokenizer = load_int8(folder, _dtype(place, "auto"))
    return LanguageModel(model.to(place), tokenizer, folder)


def model_folder(path: Path, cache: Path, say: Callable[[str], None] = lambda _: None) -> Path:
    """The model in ``path``, a folder or a GGUF file, as a folder: GGUF files are converted once into ``cache``.

    Raises:
        ModelError: it is no GGUF file, or one that cannot be converted.
    """
    return _converted(path, cache, say) if path.is_file() else path


def _four_bits(device: torch.device) -> BitsAndBytesConfig:
    if device.type != "cuda" or find_spec("bitsandbytes") is None:
        raise ModelError(
            f"a language model in four bits needs a GPU and the package bitsandbytes (pip install bitsandbytes); the "
            f"device here is {device}. Set precision to auto under [language_model]"
        )
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def _dtype(device: torch.device, precision: Precision) -> torch.dtype:
    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if device.type == "cpu":
        return torch.bfloat16 if computes_bfloat16() else torch.float32
    return torch.bfloat16


def _converted(gguf: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """Unpack a GGUF file into float32 safetensors, once; about 20 seconds for 135 million parameters."""
    if gguf.suffix.lower() != ".gguf":
        raise ModelError(f"{gguf} is neither a model folder nor a GGUF file")
    folder = cache / "gguf" / f"{gguf.stem}-{file_fingerprint([gguf])}"
    if folder.is_dir():
        return folder
    say(f"Unpacking the language model {gguf.stem} into {folder} (once, about 20 seconds)")
    packed = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **packed)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, **packed
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{gguf} cannot be converted: {first_line(error)}") from error
    # Another process may have finished the same conversion first.
    with contextlib.suppress(FileExistsError), atomic_folder(folder) as target:
        tokenizer.save_pretrained(target)
        model.save_pretrained(target)
    return folder
