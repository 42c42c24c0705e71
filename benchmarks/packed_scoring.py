"""Packed scoring against one candidate at a time, on SmolLM2-135M: same scores, how much faster?

P = 256 tokens of prefix, N = 20 candidates of l = 24 tokens; float32 and, where the processor has it, bfloat16; one
thread and two. One at a time is measured twice: as one calls a model, ``model(ids).logits[0, -1]``, and sparing it the
output head as the packed way does. The ways take turns, so that a drifting machine hits all of them.
"""

import time

import torch

from agent.settings import load_settings
from benchmarks.reporting import spread, write_report
from finetune.language_model import LanguageModel, load_language_model
from finetune.packing import pack
from retrieval.model_source import locate_model
from retrieval.precision import computes_bfloat16

PREFIX, CANDIDATES, LENGTH, ROUNDS, SEED = 256, 20, 24, 5, 0


def load(precision: str) -> LanguageModel:
    cache = load_settings(None).cache.expanduser()
    return load_language_model(locate_model("smollm2"), cache, device="cpu", precision=precision)


def score_packed(lm: LanguageModel, prefix: list[int], candidates: list[list[int]], direction: torch.Tensor):
    packed = pack(prefix, candidates)
    hidden = lm.hidden_states([packed])[0]
    return hidden[[path[-1] for path in packed.paths]] @ direction


@torch.inference_mode()
def score_one_by_one(lm: LanguageModel, prefix: list[int], candidates: list[list[int]], _: torch.Tensor):
    yes, no = lm.word_id(" yes"), lm.word_id(" no")
    logits = torch.stack([lm.model(torch.tensor([prefix + c])).logits[0, -1].float() for c in candidates])
    return logits[:, yes] - logits[:, no]


@torch.inference_mode()
def score_without_head(lm: LanguageModel, prefix: list[int], candidates: list[list[int]], direction: torch.Tensor):
    states = [lm.model.base_model(torch.tensor([prefix + c])).last_hidden_state[0, -1].float() for c in candidates]
    return torch.stack(states) @ direction


WAYS = {"packed": score_packed, "one by one": score_one_by_one, "one by one, without the head": score_without_head}


def compare(lm: LanguageModel, prefix: list[int], candidates: list[list[int]]) -> dict[str, object]:
    yes, no = lm.head([lm.word_id(" yes"), lm.word_id(" no")])
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    differences = []
    for round_number in range(ROUNDS + 1):
        scores = {}
        for name, score in WAYS.items():
            start = time.perf_counter()
            scores[name] = score(lm, prefix, candidates, yes - no)
            if round_number > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
        differences.append(float((scores["packed"] - scores["one by one"]).abs().max()))
    return {
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "times faster than": {
            name: spread([alone / packed for alone, packed in zip(values, seconds["packed"], strict=True)])
            for name, values in seconds.items()
            if name != "packed"
        },
        "largest difference of a score": max(differences),
    }


def main() -> None:
    generator = torch.Generator().manual_seed(SEED)
    figures: dict[str, object] = {}
    for precision in ["float32", *(["bfloat16"] if computes_bfloat16() else [])]:
        lm = load(precision)
        words = torch.randint(
            100, lm.tokenizer.vocab_size, (PREFIX + CANDIDATES * LENGTH,), generator=generator
        ).tolist()
        prefix = words[:PREFIX]
        candidates = [words[start : start + LENGTH] for start in range(PREFIX, len(words), LENGTH)]
        for threads in (1, 2):
            torch.set_num_threads(threads)
            figures[f"{precision}, {threads} thread{'s' if threads > 1 else ''}"] = compare(lm, prefix, candidates)
    write_report("packed-scoring", figures, P=PREFIX, N=CANDIDATES, l=LENGTH, rounds=ROUNDS, seed=SEED)


if __name__ == "__main__":
    main()
