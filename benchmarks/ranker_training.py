"""How fast a ranker is tuned: against the bare pass forward and backward of as many tokens, and against unpacked lists.

python -m benchmarks.ranker_training
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.packed_scoring import load
from benchmarks.reporting import spread, write_report
from finetune.adapters import using
from finetune.language_model import LanguageModel
from finetune.lora import LoraTuning
from finetune.packing import Packed, collate
from finetune.ranker import RANK
from finetune.ranker_training import RankerTrainer, TrainingList
from retrieval.contracts import RankRequest

ROUNDS, SEED = 5, 0
HISTORY, CANDIDATES = 12, 10
TUNING = LoraTuning(lists=4, noise=0.0)
WORDS = "space cooking western jungle river winter music garden station letter island engine".split()


def draw(number: int) -> TrainingList:
    """A list whose texts are as long as those of films with their genres."""
    rng = np.random.default_rng([SEED, number])

    def text() -> str:
        return f"{' '.join(rng.choice(WORDS, 4)).title()} ({rng.integers(1950, 2020)}). Genres: Drama, Comedy"

    history = tuple(text() for _ in range(HISTORY))
    texts = tuple(text() for _ in range(CANDIDATES))
    return TrainingList(RankRequest(history, tuple(map(str, range(CANDIDATES))), texts), (0.0,) * CANDIDATES)


def bare(lm: LanguageModel, trainer: RankerTrainer, ids: torch.Tensor) -> None:
    """A causal pass over ids (B, T) with a gradient for the same adapters and nothing around it."""
    with trainer._precision:
        states = lm.model.base_model(ids).last_hidden_state
    states.float().pow(2).mean().backward()


def unpacked(trainer: RankerTrainer, lists: list[TrainingList]) -> None:
    """Each candidate behind a prefix of its own, as many sequences at once as there are candidates."""
    for one in lists:
        request = one.request
        pairs = zip(request.candidates, request.texts, strict=True)
        alone = [TrainingList(RankRequest(request.history, (c,), (t,)), (0.0,)) for c, t in pairs]
        singles = [trainer._packed(single) for single in alone]
        batch = collate(singles, torch.device("cpu"))
        with trainer._precision:
            states = trainer._backbone(batch).float()
        last = [one.paths[0][-1] for one in singles]
        scores = states[range(len(singles)), last] @ trainer._direction
        (-torch.log_softmax(scores, 0)[0]).backward()


def ends(packed: Packed) -> list[int]:
    """The depth of the last token of each candidate: how many tokens are before it when it stands alone."""
    depths = packed.positions()
    return [depths[path[-1]] for path in packed.paths]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure in turns, so that what else the machine does falls on all alike."""
    lm = load("auto")
    trainer = RankerTrainer(lm, draw, 1000, TUNING)
    trainer.run(1)
    took: dict[str, list[float]] = {"step": [], "bare": [], "unpacked": []}
    tokens, separate = [], []
    for _ in range(ROUNDS):
        lists = [draw(number) for number in range(trainer.step * TUNING.lists, (trainer.step + 1) * TUNING.lists)]
        packed = [trainer._packed(one) for one in lists]
        count = sum(len(one.ids) for one in packed)
        ids = torch.randint(100, lm.tokenizer.vocab_size, (TUNING.lists, count // TUNING.lists))
        took["step"].append(seconds(lambda: trainer.run(1)))
        lm.model.train()
        with using(lm, RANK):
            took["bare"].append(seconds(lambda ids=ids: bare(lm, trainer, ids)))
            took["unpacked"].append(seconds(lambda lists=lists: unpacked(trainer, lists)))
        lm.model.eval()
        tokens.append(count)
        separate.append(sum(depth + 1 for one in packed for depth in ends(one)))
    figures = {
        "tokens of a step": spread([float(count) for count in tokens]),
        "tokens of a step, unpacked": spread([float(count) for count in separate]),
        "seconds": {name: spread(values) for name, values in took.items()},
        "share of the bare throughput": spread([b / s for b, s in zip(took["bare"], took["step"], strict=True)]),
        "times faster than unpacked": spread([u / s for u, s in zip(took["unpacked"], took["step"], strict=True)]),
        "lists an hour": spread([3600 * TUNING.lists / s for s in took["step"]]),
    }
    write_report("ranker-training", figures, rounds=ROUNDS, seed=SEED, lists=TUNING.lists, candidates=CANDIDATES)


if __name__ == "__main__":
    main()
