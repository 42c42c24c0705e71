"""The tuned encoder of a workspace as an artefact: layers that take the place of an encoder's own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import ModelError, first_line
from retrieval.versions import current_version, save_version

FORMAT_VERSION = 1
LAYERS = "layers.safetensors"

_CARD = """# Tuned encoder

Made by `{command}` for this workspace; `config.json` says from what. `{layers}` holds the last layers of the sentence
encoder, tuned on what people like together. Its vectors stand beside those of the untuned encoder when the setting
`encoder.tuned` is `on`.
"""


@dataclass(frozen=True)
class TunedEncoder:
    """version: its name. layers: the file. base: fingerprint of the encoder they belong to. steps, tuning: how made."""

    version: str
    layers: Path
    base: str
    steps: int
    tuning: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """What its vectors depend on."""
        return f"{self.base}-{self.version}"


def save_tuned(folder: Path, write: Callable[[Path], None], made: Mapping[str, Any]) -> str:
    """Write a new version below ``folder`` (``models/encoder``) and make it the current one; its name.

    ``write`` is given the file for the layers. ``made`` goes into config.json; it has ``base``, ``steps``, ``tuning``.
    """
    config = {"kind": "encoder", "format_version": FORMAT_VERSION, **made}
    card = _CARD.format(command=made.get("command", "whyrec finetune encoder"), layers=LAYERS)
    return save_version(folder, lambda work: write(work / LAYERS), config, card)


def current_tuned(folder: Path, base: str) -> TunedEncoder:
    """The current version below ``folder``.

    Raises:
        ModelError: there is none, it is damaged or of a newer format, or it belongs to another encoder than ``base``.
    """
    again = "make one with: whyrec finetune encoder, or do without it: WHYREC_ENCODER__TUNED=off"
    version = current_version(folder)
    if version is None:
        raise ModelError(f"{folder} has no tuned encoder; {again}")
    try:
        config = json.loads((folder / version / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise ModelError(f"the tuned encoder in {folder} is of a newer whyrec; update it, or {again}")
        found = TunedEncoder(version, folder / version / LAYERS, config["base"], config["steps"], config["tuning"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the tuned encoder in {folder} cannot be read ({first_line(error)}); {again}") from error
    if found.base != base:
        raise ModelError(f"the tuned encoder in {folder} was made from another encoder than the settings name; {again}")
    if not found.layers.is_file():
        raise ModelError(f"the tuned encoder in {folder} has lost its layers; {again}")
    return found
