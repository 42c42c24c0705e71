"""What a refresh found and did, for one artefact."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from agent.refresh.measure import Quality
from retrieval.drift import Drift
from retrieval.significance import Difference

Decision = Literal["", "not measured", "up to date", "kept", "would train", "refused", "promoted"]


@dataclass(frozen=True)
class Judged:
    """What was trained again: its version, its quality, and what it gains over what served."""

    version: str
    quality: Quality
    gain: Difference


@dataclass(frozen=True)
class Refreshed:
    """version: what served. events: it was made of; new: how many it has not seen. then, now: NDCG@10.

    why: in words, the reason of the decision.
    """

    kind: str
    version: str
    events: int = 0
    new: int = 0
    popularity: Drift | None = None
    profile: Drift | None = None
    then: float | None = None
    now: Quality | None = None
    judged: Judged | None = None
    decision: Decision = ""
    why: str = ""

    def row(self) -> dict[str, Any]:
        """As plain data."""
        judged = self.judged
        return {
            "artefact": self.kind,
            "events": self.events,
            "new": self.new,
            "psi popularity": _rounded(self.popularity.psi if self.popularity else None),
            "psi profile": _rounded(self.profile.psi if self.profile else None),
            "then": _rounded(self.then),
            "now": _rounded(self.now.mean if self.now else None),
            "retrained": _rounded(judged.quality.mean if judged else None),
            "gain above": _rounded(judged.gain.low if judged else None),
            "users": self.now.users if self.now else None,
            "decision": self.decision,
            "why": self.why,
            "version": judged.version if judged else self.version,
        }

    def record(self) -> dict[str, Any]:
        """What a version that was trained again says of it."""
        if self.judged is None or self.now is None:
            raise ValueError("nothing was trained")
        gain = self.judged.gain
        return {
            "instead_of": self.version,
            "decision": self.decision,
            "why": self.why,
            "psi": {
                name: asdict(one) for name, one in (("popularity", self.popularity), ("profile", self.profile)) if one
            },
            "new": self.new,
            "before": self.now.mean,
            "ndcg@10": self.judged.quality.mean,
            "gain": {"mean": gain.delta, "low": gain.low, "high": gain.high, "users": gain.users},
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
