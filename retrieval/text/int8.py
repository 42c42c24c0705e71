"""A sentence encoder's transformer in eight-bit integers, run by ONNX Runtime on the processor."""

import contextlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval.artefacts import atomic_folder
from retrieval.errors import ModelError, first_line
from retrieval.ranking import Floats

INSTALL = "pip install 'whyrec[onnx]'"
FILE = "model.onnx"
PROBES = (1, 7, 48)  # tokens of the texts on which a conversion is checked; it is traced with another number
TRACED = 16
CLOSE = 1e-3  # of the largest element


class Int8Transformer(torch.nn.Module):
    """Stands in for the transformer of a sentence-transformer: token ids to the states of its last layer.

    Each text runs alone, on its own tokens without padding. Activations are quantised by their largest values: in a
    batch these would be those of all its texts, and a vector would depend on what was encoded beside it.
    """

    def __init__(self, path: Path, config: Any):
        super().__init__()
        self.config = config
        self._run = _session(path)
        self._threads = torch.get_num_threads()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        """(n, T) token ids and their mask; gives ``last_hidden_state``, (n, T, d) float32, 0 where there is padding."""
        ids, kept = input_ids.numpy(), attention_mask.numpy().astype(bool)
        with ThreadPoolExecutor(self._threads) as pool:
            found = list(pool.map(lambda row: self._run(ids[row][kept[row]][None])[0], range(len(ids))))
        states = np.zeros((*ids.shape, found[0].shape[-1]), dtype=np.float32)
        for row, own in enumerate(found):
            states[row, kept[row]] = own
        return {"last_hidden_state": torch.from_numpy(states)}


def convert(model: torch.nn.Module, folder: Path, say: Callable[[str], None] = lambda _: None) -> Path:
    """Write a transformer into ``folder`` as ONNX with int8 weights, once; the file.

    Weights have a scale for each output channel and seven bits: products of eight overflow on x86 processors without
    VNNI instructions. Before quantisation the conversion must compute what the transformer does, whatever a text's
    length.

    Raises:
        ModelError: onnx or onnxruntime is not installed, or the transformer cannot be converted.
    """
    if (folder / FILE).is_file():
        return folder / FILE
    quantise, prepare = _quantisation()
    say(f"Converting the encoder to int8 in {folder} (once, a few seconds)")
    # Another process may have finished the same conversion first.
    with contextlib.suppress(FileExistsError), atomic_folder(folder) as target:
        plain, prepared = target / "plain.onnx", target / "prepared.onnx"
        try:
            _export(model, plain)
            _check(model, plain)
            prepare(plain, prepared, skip_symbolic_shape=True)
            quantise(prepared, target / FILE, per_channel=True, reduce_range=True)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"this encoder cannot be converted to int8 ({first_line(error)}); {_WAY_OUT}") from error
        plain.unlink()
        prepared.unlink()
    return folder / FILE


_WAY_OUT = 'set backend = "torch" under [encoder]'


class _States(torch.nn.Module):
    """What is exported: no mask, since there is no padding."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.model(input_ids=input_ids).last_hidden_state
        return states


def _probe(model: torch.nn.Module, tokens: int) -> torch.Tensor:
    """(1, tokens) ids spread over the vocabulary."""
    words = int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]
    return torch.from_numpy(np.random.default_rng(tokens).integers(words, size=(1, tokens)))


def _export(model: torch.nn.Module, path: Path) -> None:
    # The exporter that traces: the newer one needs another package and its int8 graph is slower. It warns that what it
    # saw need not hold for other lengths, which `_check` looks at.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _States(model).eval(),
            (_probe(model, TRACED),),
            path,
            input_names=["input_ids"],
            output_names=["states"],
            dynamic_axes={"input_ids": {1: "tokens"}, "states": {1: "tokens"}},
            dynamo=False,
        )


@torch.inference_mode()
def _check(model: torch.nn.Module, path: Path) -> None:
    run = _session(path)
    for tokens in PROBES:
        ids = _probe(model, tokens)
        right = _States(model)(ids).numpy()
        if np.abs(run(ids.numpy()) - right).max() > CLOSE * np.abs(right).max():
            raise ValueError(f"for a text of {tokens} tokens it computes something else")


def _session(path: Path) -> Callable[[NDArray[np.int64]], Floats]:
    """(1, T) token ids to (1, T, d) states, in the calling thread alone."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base class
        raise ModelError(f"{path} cannot be read ({first_line(error)}); delete {path.parent}") from error
    return lambda ids: np.asarray(session.run(None, {"input_ids": ids})[0], dtype=np.float32)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"the encoder backend onnx-int8 needs onnxruntime: {INSTALL}; or {_WAY_OUT}") from error
    return onnxruntime


def _quantisation() -> tuple[Callable[..., None], Callable[..., None]]:
    try:
        from onnxruntime.quantization import quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ModelError(
            f"the encoder backend onnx-int8 needs onnx and onnxruntime: {INSTALL}; or {_WAY_OUT}"
        ) from error
    return quantize_dynamic, quant_pre_process
