"""The tuned ranker of a workspace: an adapter of the language model, and the gate that says where it has a say."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.gate import Gate, said_gains
from agent.settings import PACKAGED_RANKER
from retrieval.data.workspace import Workspace
from retrieval.errors import ModelError, first_line
from retrieval.versions import current_version, save_version, version_names

FORMAT_VERSION = 6
PACKAGED = "packaged"  # the version of the one that comes with whyrec
UNPROVEN = "it was proven on other items; prove it on these, without tuning: whyrec finetune ranker --lists 0"

_CARD = """# Tuned ranker

Made by `{command}`. An adapter (LoRA) of the language model `{base}`: beside it, the model answers whether a person
will like an item. `whyrec recommend` uses it where its gate is open. Learnt from the training parts of: {learnt_from}.
On validation, in lists of mostly new items (cold) and in others (warm), for people with so many events (NDCG@10; α is
the language model's weight, 0 where no gain is proven; the gain is with 95 % confidence above the figure given; there
are several draws of new items, or several periods, and it must gain in each):

| data | items | people | lists | as retrieved | with the ranker | gain above | gain in each | α |
|---|---|---|---|---|---|---|---|---|
{strata}

`config.json` has the fingerprints of data, splits and model, the plan, the learning curve and the versions.
"""


@dataclass(frozen=True)
class HeldOut:
    """A split of which something is to be measured: the fingerprints of items, of all events and of the split.

    sketch: of the items' texts (`Catalog.sketch`).
    """

    items: str
    events: str
    split: str
    sketch: Sequence[str]


@dataclass(frozen=True)
class Learnt:
    """What a ranker was tuned and judged on: what the data are called, fingerprints of items and events, and a split.

    unseen: fingerprints of the splits of whose test parts it has seen nothing. sketch: of the items' texts.
    """

    data: str
    items: str
    events: str
    split: str
    seed: int
    fingerprint: str
    unseen: Sequence[str]
    sketch: Sequence[str]

    def is_of(self, asked: HeldOut) -> bool:
        """Whether it is of the same items, of the same events, or of what was these before some came or went."""
        both = sorted({*self.sketch, *asked.sketch})[: max(len(self.sketch), len(asked.sketch))]
        shared = sum(one in self.sketch and one in asked.sketch for one in both)
        return asked.items == self.items or asked.events == self.events or 2 * shared > len(both)


@dataclass(frozen=True)
class TunedRanker:
    """folder: with the adapter. base, base_fingerprint: the language model it belongs to.

    gates: what was proven, by the fingerprint of the items it was proven on. retrieval: what found the candidates
    (`described`). made: all that is known of how it was made.
    """

    version: str
    folder: Path
    base: str
    base_fingerprint: str
    gates: Mapping[str, Gate]
    learnt_from: tuple[Learnt, ...]
    retrieval: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)

    def learnt_of(self, asked: HeldOut) -> list[Learnt]:
        """What it has learnt of these data, whatever has been added to them since (`Learnt.is_of`)."""
        return [one for one in self.learnt_from if one.is_of(asked)]

    def may_be_measured(self, asked: HeldOut) -> bool:
        """Whether nothing of this split's test part was seen."""
        return all(asked.split in one.unseen for one in self.learnt_of(asked))

    def gate_in(self, workspace: Workspace) -> Gate | None:
        """What was proven on the items or the events of this workspace; None for others: films say nothing of books."""
        if workspace.catalog.fingerprint in self.gates:
            return self.gates[workspace.catalog.fingerprint]
        judged = [one for one in self.learnt_from if one.items in self.gates]
        return next((self.gates[one.items] for one in judged if one.events == workspace.all_events), None)


def save_ranker(folder: Path, write: Callable[[Path], None], made: Mapping[str, Any], card: str = _CARD) -> str:
    """Write a new version below ``folder`` and make it the current one; its name.

    ``write`` puts the adapter into a folder. ``made`` goes into config.json; it has what `TunedRanker` has. card: what
    README.md says.
    """
    config = {"kind": "ranker", "format_version": FORMAT_VERSION, **made}
    return save_version(folder, write, config, _filled(card, made), keep=True)


def _filled(card: str, made: Mapping[str, Any]) -> str:
    learnt_from = ", ".join(f"{one['data']} ({one['split']}, seed {one['seed']})" for one in made["learnt_from"])
    data = {one["items"]: one["data"] for one in made["learnt_from"]}
    strata = "\n".join(
        f"| {data[items]} | {one['kind']} | {one['people']} | {one['lists']} "
        f"| {one['before']:.4f} | {one['after']:.4f} | {one['low']:+.4f} | {said_gains(one['gains'])} "
        f"| {one['alpha']:g} |"
        for items, gate in made["gates"].items()
        for one in gate
    )
    return card.format(command=made["command"], base=made["base"], learnt_from=learnt_from, strata=strata)


def current_ranker(folder: Path) -> TunedRanker | None:
    """The current version below ``folder``, or the one that ``folder`` is itself; None where none was made.

    Raises:
        ModelError: it is damaged or of a newer format.
    """
    if (folder / "config.json").is_file():
        return _read(folder)
    version = current_version(folder)
    return None if version is None else _read(folder / version)


def ranker_of_split(folder: Path, asked: HeldOut) -> TunedRanker | None:
    """The latest version below ``folder`` that was tuned on this split and on no other of the same data, if any.

    Those of older formats do not say what they were tuned on, so they are none of them.

    Raises:
        ModelError: one is damaged or of a newer format.
    """
    every = [_read(folder / name) for name in version_names(folder) if not _is_older(folder / name)]
    fitting = [one for one in every if one.learnt_of(asked) and one.may_be_measured(asked)]
    return fitting[-1] if fitting else None


def _is_older(folder: Path) -> bool:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))["format_version"]
        return bool(found < FORMAT_VERSION)
    except (OSError, ValueError, KeyError, TypeError):
        return False  # damaged, which reading it says


def _read(folder: Path) -> TunedRanker:
    again = "make one with: whyrec finetune ranker, or do without it: WHYREC_RANKING__RANKER=off"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise ModelError(f"the tuned ranker in {folder} is of a newer whyrec; update it, or {again}")
        if config["format_version"] < FORMAT_VERSION:
            raise ModelError(f"the tuned ranker in {folder} was made by an older whyrec; {again}")
        base, fingerprint = config["base"], config["base_fingerprint"]
        gates = {items: Gate.from_json(gate) for items, gate in config["gates"].items()}
        learnt_from = tuple(Learnt(**one) for one in config["learnt_from"])
        version = PACKAGED if folder == PACKAGED_RANKER else folder.name
        return TunedRanker(version, folder, base, fingerprint, gates, learnt_from, config["retrieval"], config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the tuned ranker in {folder} cannot be read ({first_line(error)}); {again}") from error
