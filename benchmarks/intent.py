"""How well what people say is read: 300 utterances in phrasings that nothing was tuned on, with the intents meant.

    python -m benchmarks.intent                measures
    python -m benchmarks.intent --make         makes the utterances anew (`benchmarks/intents.ndjson`)

The tuned language model, the same untuned, and rules; the share of intents that agree wholly, and the F1 of each slot.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from agent.cli.console import Steps
from agent.cli.options import open_workspace
from agent.intent import Intent
from agent.intent_rules import read_intent
from agent.intent_tuning import agreement, read_by
from agent.models import Models
from agent.utterances import YEAR, UtteranceMaker, Words
from benchmarks.quality import workspace
from benchmarks.reporting import write_report
from finetune.intent import LMIntentReader

UTTERANCES, COUNT, SEED = Path(__file__).parent / "intents.ndjson", 300, 2026


def make(root: Path) -> None:
    """Write the utterances: held-out phrasings, moods and titles."""
    maker = UtteranceMaker(Words.of(open_workspace(root).workspace.catalog, "held-out"), "held-out")
    pairs = [maker.make(np.random.default_rng([SEED, number])) for number in range(COUNT)]
    lines = [json.dumps({"said": said, "meant": str(meant)}, ensure_ascii=False) for said, meant in pairs]
    UTTERANCES.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Read all of them by each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", action="store_true", help="make the utterances anew")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    asked = parser.parse_args()
    root = workspace("movielens-small", asked.work, None, {})
    if asked.make:
        make(root)
        return
    models = Models(open_workspace(root).settings)
    untuned = LMIntentReader(models.language_model)
    readers: dict[str, Callable[[str], Intent | None]] = {
        "lm-tuned": lambda said: read_by(models.intent_reader.read, said, [YEAR]),
        "lm-zero-shot": lambda said: read_by(untuned.read, said, [YEAR]),
        "rules": read_intent,
    }
    pairs = [json.loads(line) for line in UTTERANCES.read_text(encoding="utf-8").splitlines()]
    figures: dict[str, object] = {}
    with Steps() as watch:
        for name, read in readers.items():
            watch.start(f"Reading by {name}", len(pairs))
            found = []
            for pair in pairs:
                found.append((read(pair["said"]), Intent.read(pair["meant"])))
                watch.advance()
            values = agreement(found)
            exact, slots = values.pop("exact"), [value for slot, value in values.items()]
            figures[name] = {
                "exact": exact,
                "slot-f1": min(slots),
                **values,
                "no end": sum(one is None for one, _ in found),
            }
    write_report("intent", figures, utterances=len(pairs), seed=SEED)


if __name__ == "__main__":
    main()
