"""Adapters of the language model beside the ranker's: what words explanations, what reads intents."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agent.settings import PACKAGED_ADAPTERS
from agent.tuned_ranker import PACKAGED
from retrieval.errors import ModelError, first_line
from retrieval.versions import current_version, save_version

FORMAT_VERSION = 1
Kind = Literal["writer", "intent"]


@dataclass(frozen=True)
class TunedAdapter:
    """folder: with the adapter. base, base_fingerprint: the language model it belongs to. made: how it was made."""

    version: str
    folder: Path
    base: str
    base_fingerprint: str
    made: Mapping[str, Any] = field(default_factory=dict)


def without(kind: Kind) -> str:
    """The setting that does without it."""
    return f"WHYREC_LANGUAGE_MODEL__{kind.upper()}=off"


def save_tuned(kind: Kind, folder: Path, write: Callable[[Path], None], made: Mapping[str, Any], card: str) -> str:
    """Write a new version below ``folder`` and make it the current one; its name.

    ``write`` puts the adapter into a folder. ``made`` goes into config.json; it has what `TunedAdapter` has.
    """
    return save_version(folder, write, {"kind": kind, "format_version": FORMAT_VERSION, **made}, card, keep=True)


def current_tuned(kind: Kind, folder: Path) -> TunedAdapter | None:
    """The current version below ``folder``, or the one that ``folder`` is itself; None where none was made.

    Raises:
        ModelError: it is damaged or of a newer format.
    """
    if not (folder / "config.json").is_file():
        version = current_version(folder)
        if version is None:
            return None
        folder = folder / version
    again = f"make one with: whyrec finetune {kind}, or do without it: {without(kind)}"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise ModelError(f"the tuned {kind} in {folder} is of a newer whyrec; update it, or {again}")
        version = PACKAGED if folder == PACKAGED_ADAPTERS[kind] else folder.name
        return TunedAdapter(version, folder, config["base"], config["base_fingerprint"], config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the tuned {kind} in {folder} cannot be read ({first_line(error)}); {again}") from error
