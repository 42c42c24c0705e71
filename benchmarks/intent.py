"""How well what people say is read: 300 utterances in phrasings that nothing was tuned on, with the intents meant.

    python -m benchmarks.intent                measures
    python -m benchmarks.intent --only rules   one of the systems; what was measured of the others stays, with its seed
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
from agent.evaluation.report import Row
from agent.intent import Intent
from agent.intent_rules import read_intent
from agent.intent_tuning import agreement, read_by
from agent.models import Models
from agent.utterances import YEAR, UtteranceMaker, Words
from agent.whole_titles import WholeTitles
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS, write_rows
from finetune.intent import LMIntentReader

SYSTEMS = ("lm-tuned", "lm-zero-shot", "rules")
REPORT = RESULTS / "intent.json"
UTTERANCES, COUNT, SEED = Path(__file__).parent / "intents.ndjson", 300, 2027


def make(root: Path) -> None:
    """Write the utterances: held-out phrasings, moods and titles."""
    maker = UtteranceMaker(Words.of(open_workspace(root).workspace.catalog, "held-out"), "held-out")
    pairs = [maker.make(np.random.default_rng([SEED, number])) for number in range(COUNT)]
    rows = [json.dumps({"said": said, "meant": lines}, ensure_ascii=False) for said, lines in pairs]
    UTTERANCES.write_text("\n".join(rows) + "\n", encoding="utf-8")


def figures_of(found: list[tuple[Intent | None, Intent]]) -> dict[str, float]:
    """As `agreement`, with the least F1 of any slot as ``slot-f1``, and the share that came to an end."""
    values = agreement(found)
    exact, ended = values.pop("exact"), sum(one is not None for one, _ in found) / len(found)
    return {"exact": exact, "slot-f1": min(values.values()), **values, "ended": ended}


def row_of(system: str, metric: str, value: float) -> Row:
    """Of all utterances."""
    return Row("movielens-small", "held-out", system, "all", metric, 0, value, None, None, COUNT, SEED)


def main() -> None:
    """Read all of them by each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", action="store_true", help="make the utterances anew")
    parser.add_argument("--only", action="append", choices=SYSTEMS, help="one of them; may be given again")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    asked = parser.parse_args()
    root = workspace("movielens-small", asked.work, None, {})
    if asked.make:
        make(root)
        return
    opened = open_workspace(root)
    models, titles = Models(opened.settings), WholeTitles(opened.workspace.catalog)
    untuned = LMIntentReader(models.language_model)
    readers: dict[str, Callable[[str], Intent | None]] = {
        "lm-tuned": lambda said: read_by(models.intent_reader.read, said, [YEAR]),
        "lm-zero-shot": lambda said: read_by(untuned.read, said, [YEAR]),
        "rules": read_intent,
    }
    pairs = [json.loads(line) for line in UTTERANCES.read_text(encoding="utf-8").splitlines()]
    kept = json.loads(REPORT.read_text())["rows"] if REPORT.is_file() and asked.only else []
    rows = [Row(**row) for row in kept if row["system"] not in asked.only]
    with Steps() as watch:
        for name in asked.only or SYSTEMS:
            read = readers[name]
            watch.start(f"Reading by {name}", len(pairs))
            found = []
            for pair in pairs:
                intent = read(pair["said"])
                whole = None if intent is None else titles.mended(intent, pair["said"])
                found.append((whole, Intent.read(pair["meant"])))
                watch.advance()
            rows += [row_of(name, metric, value) for metric, value in figures_of(found).items()]
    write_rows("intent", rows, utterances=len(pairs), seed=SEED)


if __name__ == "__main__":
    main()
