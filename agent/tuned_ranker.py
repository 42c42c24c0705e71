"""The tuned ranker of a workspace: an adapter of the language model, and the gate that says where it has a say."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.gate import Gate
from retrieval.errors import ModelError, first_line
from retrieval.versions import current_version, save_version, version_names

FORMAT_VERSION = 1

_CARD = """# Tuned ranker

Made by `{command}`; `config.json` says from what, and what the gate rests on. An adapter (LoRA) of the language model
`{base}`: beside it, the model answers whether a person will like an item. `whyrec recommend` uses it where its gate is
open.
"""


@dataclass(frozen=True)
class TunedRanker:
    """folder: with the adapter. base, base_fingerprint: the language model it belongs to.

    learnt_from: for each split it was tuned and judged on the fingerprints of its items and of itself. retrieval: what
    the gate was proven on (`described`).
    """

    version: str
    folder: Path
    base: str
    base_fingerprint: str
    gate: Gate
    learnt_from: tuple[tuple[str, str], ...]
    retrieval: Mapping[str, Any]

    def may_be_measured(self, items: str, split: str) -> bool:
        """Whether nothing of this split's test part can have been seen: it learnt from this very split or other items.

        ``items``, ``split``: fingerprints.
        """
        return all(seen == split for of, seen in self.learnt_from if of == items)


def save_ranker(folder: Path, write: Callable[[Path], None], made: Mapping[str, Any]) -> str:
    """Write a new version below ``folder`` and make it the current one; its name.

    ``write`` puts the adapter into a folder. ``made`` goes into config.json; it has what `TunedRanker` has.
    """
    config = {"kind": "ranker", "format_version": FORMAT_VERSION, **made}
    return save_version(folder, write, config, _CARD.format(command=made["command"], base=made["base"]), keep=True)


def current_ranker(folder: Path) -> TunedRanker | None:
    """The current version below ``folder``, or the one that ``folder`` is itself; None where none was made.

    Raises:
        ModelError: it is damaged or of a newer format.
    """
    if (folder / "config.json").is_file():
        return _read(folder)
    version = current_version(folder)
    return None if version is None else _read(folder / version)


def ranker_of_split(folder: Path, split: str) -> TunedRanker | None:
    """The latest version below ``folder`` that was tuned on the split with this fingerprint; None where none was.

    Raises:
        ModelError: one is damaged or of a newer format.
    """
    every = [_read(folder / name) for name in version_names(folder)]
    fitting = [one for one in every if any(seen == split for _, seen in one.learnt_from)]
    return fitting[-1] if fitting else None


def _read(folder: Path) -> TunedRanker:
    again = "make one with: whyrec finetune ranker, or do without it: WHYREC_RANKING__RANKER=off"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise ModelError(f"the tuned ranker in {folder} is of a newer whyrec; update it, or {again}")
        base, fingerprint = config["base"], config["base_fingerprint"]
        gate = Gate.from_json(config["gate"])
        learnt_from = tuple((one["items"], one["fingerprint"]) for one in config["learnt_from"])
        return TunedRanker(folder.name, folder, base, fingerprint, gate, learnt_from, config["retrieval"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the tuned ranker in {folder} cannot be read ({first_line(error)}); {again}") from error
