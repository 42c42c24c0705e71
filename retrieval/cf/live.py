"""The fusion that serves: scorers trained on all events, kept in the workspace as one artefact."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retrieval.cf.config import Config
from retrieval.cf.fused import POOL, SINGLE, Candidates, Fusion, Strategy
from retrieval.cf.scorer import Scorer, mask
from retrieval.cf.scorers import SCORERS, load_scorer, save_scorer
from retrieval.cf.stack import Stack
from retrieval.data.events import History
from retrieval.data.histories import Histories, sparse
from retrieval.errors import InputError, ModelError, WorkspaceError, command, first_line
from retrieval.ranking import Floats, Rankings, order, top
from retrieval.text.scorers import SoftKnn, SoftKnnConfig
from retrieval.text.tower import Tower, TowerConfig
from retrieval.versions import current_version, save_version

FORMAT_VERSION = 4
TEXT = SoftKnn.name
TEXT_ALONE = Fusion(SINGLE, (TEXT,), (1.0,))
TEXT_VERSION = 2  # of how text scores; with another one, what was proven on it must be proven anew
BY_TEXT = (TEXT, Tower.name)  # their scores come from the index, so its vectors are not saved again

_CARD = """# Fusion of scorers

Made by `{command}` for this workspace; `config.json` says from what. `whyrec recommend` uses it for whoever has a
history or names what they like. The `.safetensors` files hold what each scorer learnt, `stack.skops` the boosted trees.
"""


@dataclass(frozen=True)
class LiveFusion:
    """A fusion with its scorers (all but the texts'), ready to order candidates for one person.

    likes: the fusion for people who name a few items and have no history; None where the text alone serves them.
    items: all item ids, sorted. text: the parameters of the untrained text score. tower: the trained one, without the
    items' vectors; None where it has no say. events: fingerprint of those it was trained on, space: of the
    vectors (`ItemIndex.space`), "" where none is kept.
    """

    fusion: Fusion
    scorers: Mapping[str, Scorer]
    items: tuple[str, ...]
    text: SoftKnnConfig
    tower: Tower | None = None
    events: str = ""
    space: str = ""
    likes: Fusion | None = None

    @property
    def for_likes(self) -> "LiveFusion | None":
        """The same scorers, put together for people who name a few items."""
        return replace(self, fusion=self.likes) if self.likes else None

    @cached_property
    def _column_of(self) -> dict[str, int]:
        return {item_id: column for column, item_id in enumerate(self.items)}

    def find(self, history: History, exclude: frozenset[str], allowed: Sequence[str] | None) -> "Found":
        """What the scorers find for a history: `POOL` items each, none of ``exclude``, only ``allowed`` if given."""
        histories = Histories.of([history], self.items)
        known = (self._column_of[item_id] for item_id in exclude if item_id in self._column_of)
        columns = np.array(sorted(known), dtype=np.int64)
        excluded = sparse(np.zeros_like(columns), columns, np.ones(len(columns)), shape=histories.values.shape)
        candidates = None
        if allowed is not None:
            candidates = np.zeros(len(self.items), dtype=np.bool_)
            candidates[[self._column_of[item_id] for item_id in allowed]] = True
        scores = {name: self.scorers[name].score(histories)[0] for name in self.fusion.used if name not in BY_TEXT}
        tops = [
            top(mask(values[None, :].copy(), excluded, candidates), POOL, name).columns[0]
            for name, values in scores.items()
        ]
        return Found(
            scores, np.unique(np.concatenate([c[c >= 0] for c in tops])) if tops else columns[:0], len(history)
        )

    def order(
        self, found: "Found", ids: Sequence[str], by_text: Mapping[str, Floats], k: int
    ) -> tuple[Rankings, dict[str, Floats]]:
        """The k best of ``ids``, whose text scores are ``by_text``; and each scorer's scores of them."""
        columns = np.array([self._column_of[item_id] for item_id in ids], dtype=np.int64)
        given = {name: by_text[name] if name in BY_TEXT else found.scores[name][columns] for name in self.fusion.used}
        nothing = np.zeros(len(ids), dtype=np.float32)
        scores = np.stack([given.get(name, nothing) for name in self.fusion.scorers])
        candidates = Candidates(columns[None, :], scores[:, None, :], np.array([found.length]))
        fused = self.fusion.fuse(candidates)[0]
        kept = np.isfinite(fused)
        names = [item_id for item_id, keep in zip(ids, kept, strict=True) if keep]
        return order([names], [fused[kept]], k, "fusion"), given


@dataclass(frozen=True)
class Found:
    """What the scorers found for one history: every scorer's scores (m,), and the columns of the candidates."""

    scores: Mapping[str, Floats]
    columns: NDArray[np.int64]
    length: int


def save_fusion(
    folder: Path,
    fusions: Mapping[Strategy, Fusion],
    best: Strategy,
    scorers: Sequence[Scorer],
    catalog_fingerprint: str,
    events_fingerprint: str,
    made: Mapping[str, Any],
    *,
    space: str = "",
    likes: Fusion | None = None,
) -> str:
    """Write a new version below ``folder`` (``models/fusion``) and make it the current one; its name.

    ``made`` goes into config.json as it is: command, data, versions, seeds, figures on validation. ``space`` is that of
    the vectors (`ItemIndex.space`), ``likes`` the fusion for people who name a few items.
    """
    text = [scorer.config for scorer in scorers if scorer.name == TEXT]
    towers = [scorer for scorer in scorers if isinstance(scorer, Tower)]
    if not text:
        raise ValueError(f"a fusion that serves needs {TEXT}")
    stack = fusions["stacked"].stack if "stacked" in fusions else None

    def write(work: Path) -> None:
        for scorer in scorers:
            if scorer.name not in BY_TEXT:
                save_scorer(scorer, work)
        for tower in towers:
            save_file(dict(tower.learnt()), work / "tower.safetensors")
        if stack is not None:
            stack.save(work / "stack.skops")

    config = {
        "kind": "fusion",
        "format_version": FORMAT_VERSION,
        "catalog": catalog_fingerprint,
        "events": events_fingerprint,
        "space": space,
        "best": best,
        "fusions": {name: _as_json(fusion) for name, fusion in fusions.items()},
        "likes": _as_json(likes) if likes else None,
        "text": text[0].to_json(),
        "tower": towers[0].config.to_json() if towers else None,
        **made,
    }
    return save_version(folder, write, config, _CARD.format(command=made.get("command", "whyrec tune")))


@dataclass(frozen=True)
class KeptFusion:
    """What makes a fusion but for what its scorers have learnt: strategies, the best one, and scorers' parameters.

    catalog: fingerprint of the items it was made for. made: what was written of how it was made.
    """

    catalog: str
    fusions: Mapping[Strategy, Fusion]
    best: Strategy
    configs: Mapping[str, Config]
    likes: Fusion | None
    made: Mapping[str, Any]


def kept_fusion(folder: Path) -> KeptFusion | None:
    """That of the current version below ``folder`` (``models/fusion``), to train its scorers anew; None without one.

    Raises:
        ModelError: it is damaged or of another format.
    """
    current = current_version(folder)
    if current is None:
        return None
    version = folder / current
    try:
        config = json.loads((version / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] != FORMAT_VERSION:
            raise ModelError(f"{version} has another format; make it anew: whyrec tune")
        stack = Stack.load(version / "stack.skops") if (version / "stack.skops").is_file() else None
        fusions = {name: _fusion(one, stack if name == "stacked" else None) for name, one in config["fusions"].items()}
        names = next(iter(fusions.values())).scorers
        own = {TEXT: config["text"], Tower.name: config["tower"]}
        read = {name: own[name] if name in own else _parameters(version, name) for name in names}
        configs = {name: SCORERS[name].config_type.from_json(values) for name, values in read.items()}
        likes = _fusion(config["likes"], None) if config["likes"] else None
        made = {name: config[name] for name in ("command", "validation", "versions")}
        return KeptFusion(str(config["catalog"]), fusions, config["best"], configs, likes, made)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise ModelError(f"{version} cannot be read ({first_line(error)}); run: whyrec tune") from error


def _parameters(version: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((version / f"{name}.json").read_text(encoding="utf-8"))["parameters"]
    return found


def described(fusion: Fusion) -> dict[str, Any]:
    """What finds and orders candidates, as plain data, to know it again."""
    version = {"text version": TEXT_VERSION} if TEXT in fusion.used else {}
    return {"strategy": fusion.strategy, **fusion.constants, **version}


def _as_json(fusion: Fusion) -> dict[str, Any]:
    return {name: value for name, value in asdict(fusion).items() if name != "stack"}


def load_fusion(root: Path, wanted: str, items: Sequence[str], catalog_fingerprint: str) -> LiveFusion | None:
    """The current fusion of the workspace at ``root``, None where none was made and ``wanted`` is ``auto``.

    ``wanted`` is a strategy, or ``auto`` for the one that was best on validation.

    Raises:
        WorkspaceError: it was made for other items.
        ModelError: it is missing, damaged or of a newer format.
    """
    folder = root / "models" / "fusion"
    current = current_version(folder)
    if current is None:
        if wanted == "auto":
            return None
        raise ModelError(f"there is no fusion to serve by {wanted!r}; make it with: {command('tune', root)}")
    try:
        version = folder / current
        config = json.loads((version / "config.json").read_text(encoding="utf-8"))
        if config["format_version"] > FORMAT_VERSION:
            raise ModelError(f"{version} has a newer format; update whyrec, or run: {command('tune', root)}")
        if config["format_version"] < FORMAT_VERSION:
            raise ModelError(f"{version} has an older format; make it anew: {command('tune', root)}")
        if config["catalog"] != catalog_fingerprint:
            raise WorkspaceError(
                f"the fusion was made for other items than the catalog has now; run: {command('tune', root)}, or serve "
                "without it: WHYREC_RANKING__FUSION=off"
            )
        name = config["best"] if wanted == "auto" else wanted
        stack = Stack.load(version / "stack.skops") if name == "stacked" else None
        fusion = _fusion(config["fusions"][name], stack)
        text = SoftKnnConfig.from_json(config["text"])
        likes = _fusion(config["likes"], None) if config["likes"] else None
        used = {*fusion.used, *(likes.used if likes else ())}
        events, space = str(config["events"]), str(config["space"])
        tower = _tower(config["tower"], version) if Tower.name in used else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be read ({first_line(error)}); run: {command('tune', root)}") from error
    scorers = {name: load_scorer(name, version) for name in used if name not in BY_TEXT}
    return LiveFusion(fusion, scorers, tuple(sorted(items)), text, tower, events, space, likes)


def _tower(parameters: dict[str, Any], version: Path) -> Tower:
    """The tower without vectors, which are the index's."""
    learnt = load_file(version / "tower.safetensors")
    none = np.zeros((0, len(learnt["popular"])), dtype=np.float32)
    return Tower.from_arrays(TowerConfig.from_json(parameters), 0, {**learnt, "vectors": none})


def _fusion(values: dict[str, Any], stack: Stack | None) -> Fusion:
    lists = {name: tuple(values[name]) for name in ("scorers", "weights", "pair")}
    return Fusion(values["strategy"], cut=values["cut"], stack=stack, **lists)
