"""What `benchmarks.multi_task` measured, as the table of its report: one adapter against two."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.significance import compare

SEED = 0
MIXED, LOSS = "ndcg@10 mixed", "held-out loss"
SYSTEMS: dict[str, float | None] = {"ranker": None, "writer": None, "both 0.3": 0.3, "both 1": 1.0}  # λ
BOTH = [name for name, weight in SYSTEMS.items() if weight is not None]
TWO = ("ranker", "writer")


@dataclass(frozen=True)
class Measured:
    """What an adapter does: for each list its figures, the loss of each held-out sentence, and what was written.

    A task that it has not learnt has nothing.
    """

    ndcg: dict[str, list[float]]
    loss: list[float]
    written: dict[str, int]
    size: int
    seconds: float

    def half(self, number: int) -> dict[str, np.ndarray]:
        """By name what was measured on the lists and sentences of a half."""
        parts = {f"ndcg@10 {name}": values for name, values in self.ndcg.items()} | {LOSS: self.loss}
        found = {name: np.array(values) for name, values in parts.items() if values}
        return {name: values[halves(len(values))[number]] for name, values in found.items()}


def halves(count: int) -> list[np.ndarray]:
    """To choose on, and to report."""
    return np.array_split(np.random.default_rng(SEED).permutation(count), 2)


def shortfall(one: Measured, ranker: Measured, writer: Measured) -> float:
    """What one adapter loses of two, in shares, where λ is chosen."""
    means = [{name: float(values.mean()) for name, values in m.half(0).items()} for m in (one, ranker, writer)]
    lost = (means[1][MIXED] - means[0][MIXED]) / means[1][MIXED]
    return lost + (means[0][LOSS] - means[2][LOSS]) / means[2][LOSS]


def row(*adapters: Measured) -> dict[str, object]:
    """What adapters do together: each figure of the one that has learnt it."""
    found: dict[str, object] = {}
    for one in adapters:
        found |= {name: round(float(values.mean()), 4) for name, values in one.half(1).items()} | one.written
    size, seconds = sum(one.size for one in adapters), sum(one.seconds for one in adapters)
    return {**found, "bytes": size, "seconds": round(seconds)}


def against(one: Measured, ranker: Measured, writer: Measured) -> dict[str, dict[str, float]]:
    """What one adapter gains over two, with its interval; of the loss, less is better."""
    two = ranker.half(1) | writer.half(1)
    found = {}
    for name, ours in one.half(1).items():
        gain = compare(ours, [two[name]], SEED)[0]
        found[name] = {part: round(getattr(gain, part), 4) for part in ("delta", "low", "high")}
    return {name: values for name, values in found.items() if "retrieved" not in name}


def figures(found: dict[str, Measured]) -> dict[str, object]:
    """The table, and where λ was chosen."""
    table = {name: row(one) for name, one in found.items()}
    if not set(TWO) <= set(found):
        return {"table": table}
    two = [found[name] for name in TWO]
    costs = {name: round(shortfall(found[name], *two), 4) for name in BOTH if name in found}
    return {
        "table": {"two adapters": row(*two), **table},
        "lost where λ is chosen": costs,
        "chosen": min(costs, key=lambda name: costs[name]) if costs else None,
        "one against two": {name: against(found[name], *two) for name in costs},
    }


def kept(path: Path, settings: dict[str, object]) -> dict[str, dict[str, object]]:
    """What a report of the same settings has, part by part."""
    report = json.loads(path.read_text()) if path.is_file() else {"meta": {"settings": None}}
    return report["figures"] if report["meta"]["settings"] == settings else {}


def joined(before: dict, now: dict) -> dict[str, object]:
    """What was found now, and what of before is not there any more."""
    return {
        **before,
        **{key: {**before.get(key, {}), **value} if isinstance(value, dict) else value for key, value in now.items()},
    }
