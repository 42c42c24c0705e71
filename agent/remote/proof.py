"""Whether a remote language model helps to order lists: judged on validation like a tuned one, kept as its gate."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np

from agent.evaluation.output import versions
from agent.evaluation.watch import Watch
from agent.gate import Gate, fit_gate
from agent.models import Models
from agent.ranking_lists import RankingLists
from agent.remote.ranker import RemoteRanker
from agent.tuned_ranker import save_ranker
from agent.unfinished import UNFINISHED
from retrieval.contracts import Judge, RankRequest
from retrieval.errors import SplitError
from retrieval.ranking import Floats

_CARD = """# Proof of a remote ranker

Made by `{command}`. What validation showed of the remote language model `{base}`, as it answers whether a person will
like an item. `whyrec recommend` lets that model, at that endpoint, order lists where the gate is open. Judged on the
validation parts of: {learnt_from}. For people with so many events (NDCG@10; α is the language model's weight, 0 where
no gain is proven; the interval is the gain's 95 %, its lower end):

| people | lists | as retrieved | with the ranker | gain above | α cold | α warm |
|---|---|---|---|---|---|---|
{strata}

`config.json` has the fingerprints of data, splits and endpoint, and the versions.
"""


def prove(
    source: RankingLists, models: Models, most: int, seed: int, folder: Path, watch: Watch, command: str
) -> tuple[Gate, str]:
    """Judge the remote model on at most ``most`` validation lists, and keep the gate, open or not; and its version.

    What was answered is kept until then, so that no list is paid twice after an interruption or a failure.

    Raises:
        SplitError: nobody is left to validate on.
        RemoteError: the model fails, or its spending cap is reached.
    """
    asked = source.asked(0, most)
    if not asked.rows:
        raise SplitError("nobody is left to judge a ranker on: no validation user has something to be found")
    watch.start("Judging on validation", len(asked.rows))
    answers = folder / UNFINISHED / f"{models.remote.fingerprint}.ndjson"
    judge = _Remembering(RemoteRanker(models.remote), answers, watch.advance)
    gate = fit_gate(source.judged(asked, judge, lambda: None), seed)
    made = {
        "command": command,
        "base": models.remote.settings.name,
        "base_fingerprint": models.remote.fingerprint,
        "gate": gate.to_json(),
        "learnt_from": [asdict(source.learnt)],
        "retrieval": source.retrieval.described,
        "versions": versions(),
    }
    version = save_ranker(folder, lambda _: None, made, _CARD)
    shutil.rmtree(answers.parent)
    return gate, version


class _Remembering:
    """A judge that keeps what it was told in a file, a line for each request, and asks for nothing twice."""

    def __init__(self, judge: Judge, file: Path, advance: Callable[[], None]):
        self._judge = judge
        self._file = file
        self._advance = advance
        self._known = {key: scores for line in self._lines() for key, scores in _read(line)}

    def score(self, requests: Sequence[RankRequest]) -> list[Floats]:
        """As `Judge.score`."""
        return [self._one(request) for request in requests]

    def _one(self, request: RankRequest) -> Floats:
        key = hashlib.sha256(json.dumps(astuple(request)).encode()).hexdigest()
        if key not in self._known:
            [scores] = self._judge.score([request])
            self._known[key] = scores.tolist()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as kept:
                kept.write(f"\n{json.dumps({'key': key, 'scores': self._known[key]})}\n")  # after a torn line, too
        self._advance()
        return np.array(self._known[key], dtype=np.float32)

    def _lines(self) -> list[str]:
        return self._file.read_text(encoding="utf-8", errors="replace").splitlines() if self._file.is_file() else []


def _read(line: str) -> list[tuple[str, list[float]]]:
    """What a line holds; nothing where the process ended while it was written."""
    try:
        found = json.loads(line)
        return [(str(found["key"]), [float(score) for score in found["scores"]])]
    except (ValueError, KeyError, TypeError):
        return []
