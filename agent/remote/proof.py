"""Whether a remote language model helps to order lists: judged on validation like a tuned one, kept as its gate."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from agent.evaluation.output import versions
from agent.evaluation.watch import Watch
from agent.gate import Gate, JudgedList, fit_gate
from agent.models import Models
from agent.ranking_lists import RankingLists
from agent.remote.kept import KeptScores
from agent.remote.ranker import RemoteRanker
from agent.tuned_ranker import save_ranker
from agent.unfinished import UNFINISHED
from retrieval.errors import SplitError
from retrieval.ranking import Floats

_CARD = """# Proof of a remote ranker

Made by `{command}`. What validation showed of the remote language model `{base}`, as it answers whether a person will
like an item. `whyrec recommend` lets that model, at that endpoint, order lists where the gate is open. Judged on the
validation parts of: {learnt_from}. In lists of mostly new items (cold) and in others (warm), for people with so many
events (NDCG@10; α is the language model's weight, 0 where no gain is proven; the gain is with 95 % confidence above the
figure given; there are several draws of new items, or several periods, and it must gain in each):

| data | items | people | lists | as retrieved | with the ranker | gain above | gain in each | α |
|---|---|---|---|---|---|---|---|---|
{strata}

`config.json` has the fingerprints of data, splits and endpoint, and the versions.
"""


def prove(
    source: RankingLists, models: Models, most: int, seed: int, folder: Path, watch: Watch, command: str
) -> tuple[Gate, str]:
    """Judge the remote model on at most ``most`` validation lists, and keep the gate, open or not; and its version.

    What was answered is kept until then, so that nothing is paid twice after an interruption or a failure.

    Raises:
        SplitError: nobody is left to validate on.
        RemoteError: the model fails, or its spending cap is reached.
    """
    shares = np.array_split(np.arange(most), len(source.draws))  # together no more than were asked for
    asked = [draw.asked(0, len(share)) for draw, share in zip(source.draws, shares, strict=True)]
    if not any(one.rows for one in asked):
        raise SplitError("nobody is left to judge a ranker on: no validation user has something to be found")
    watch.start("Judging on validation", sum(len(one.rows) for one in asked))
    kept = KeptScores(folder / UNFINISHED / f"{models.remote.fingerprint}.ndjson")
    ranker, lists = RemoteRanker(models.remote, kept), list[JudgedList]()
    for number, (draw, one) in enumerate(zip(source.draws, asked, strict=True)):
        scores = list[Floats]()
        for request in draw.requests(one):
            scores += ranker.score([request])
            watch.advance()
        lists += [replace(judged, draw=number) for judged in draw.judged_by(one, scores)]
    gate = fit_gate(lists, [range(len(source.draws))], seed)
    made = {
        "command": command,
        "base": models.remote.settings.name,
        "base_fingerprint": models.remote.fingerprint,
        "gates": {source.learnt.items: gate.to_json()},
        "learnt_from": [asdict(source.learnt)],
        "retrieval": source.retrieval.described,
        "versions": versions(),
    }
    version = save_ranker(folder, lambda _: None, made, _CARD)
    kept.drop()
    return gate, version
