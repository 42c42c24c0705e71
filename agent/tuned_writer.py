"""The tuned writer of a workspace: an adapter of the language model that words explanations."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.settings import PACKAGED_WRITER
from agent.tuned_ranker import PACKAGED
from retrieval.errors import ModelError, first_line
from retrieval.versions import current_version, save_version

FORMAT_VERSION = 1

_CARD = """# Tuned writer

Made by `{command}`. An adapter (LoRA) of the language model `{base}`: beside it, the model words explanations, with
slots where names, values and numbers go. It has learnt from sentences alone, and from no data. In each round the
model's own sentences that pass all checks join what the next one learns from:

| round | loss | written | come to an end | accepted | different | not in the grammar |
|---|---|---|---|---|---|---|
{rounds}

`config.json` has the fingerprint of the model, the tuning and the versions.
"""


@dataclass(frozen=True)
class TunedWriter:
    """folder: with the adapter. base, base_fingerprint: the language model it belongs to. made: how it was made."""

    version: str
    folder: Path
    base: str
    base_fingerprint: str
    made: Mapping[str, Any] = field(default_factory=dict)


def save_writer(folder: Path, write: Callable[[Path], None], made: Mapping[str, Any]) -> str:
    """Write a new version below ``folder`` and make it the current one; its name.

    ``write`` puts the adapter into a folder. ``made`` goes into config.json; it has what `TunedWriter` has.
    """
    rounds = "\n".join(
        f"| {number} | {one['loss']:.3f} | {one['written']} | {one['ended']} | {one['accepted']} | {one['different']} "
        f"| {one['new']} |"
        for number, one in enumerate(made["rounds"], 1)
    )
    card = _CARD.format(command=made["command"], base=made["base"], rounds=rounds)
    return save_version(folder, write, {"kind": "writer", "format_version": FORMAT_VERSION, **made}, card, keep=True)


def current_writer(folder: Path) -> TunedWriter | None:
    """The current version below ``folder``, or the one that ``folder`` is itself; None where none was made.

    Raises:
        ModelError: it is damaged or of a newer format.
    """
    if not (folder / "config.json").is_file():
        version = current_version(folder)
        if version is None:
            return None
        folder = folder / version
    again = "make one with: whyrec finetune writer, or do without it: WHYREC_LANGUAGE_MODEL__WRITER=off"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise ModelError(f"the tuned writer in {folder} is of a newer whyrec; update it, or {again}")
        version = PACKAGED if folder == PACKAGED_WRITER else folder.name
        return TunedWriter(version, folder, config["base"], config["base_fingerprint"], config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the tuned writer in {folder} cannot be read ({first_line(error)}); {again}") from error
