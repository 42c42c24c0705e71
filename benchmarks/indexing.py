"""Indexing MovieLens-small against `SentenceTransformer.encode` alone on the same texts, and indexing it again.

The encoder alone runs twice: as it comes (float32, its default batch size) and in the precision that whyrec uses on
this machine. The ways take turns within each round.
"""

import tempfile
import time
from pathlib import Path

from sentence_transformers import SentenceTransformer

from agent.models import Models
from agent.settings import load_settings
from benchmarks.reporting import spread, write_report
from retrieval.data.demo import movielens_small
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.model_source import locate_model
from retrieval.text.index import ItemIndex

ROUNDS = 3


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def index_from_nothing(workspace: Workspace, models: Models, path: Path) -> None:
    index = ItemIndex(path, models.encoder_fingerprint, create=True)
    index.update(workspace.catalog, index.changes(workspace.catalog), models.encoder)


def index_unchanged(workspace: Workspace, models: Models, path: Path) -> None:
    changes = ItemIndex(path, models.encoder_fingerprint).changes(workspace.catalog)
    assert not changes.write
    assert not changes.delete


def main() -> None:
    plain = SentenceTransformer(str(locate_model("minilm")), device="cpu")
    models = Models(load_settings(None))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        create_workspace(root, *movielens_small(), skip_invalid=True)
        workspace = Workspace(root)
        texts = [workspace.catalog.text(item_id) for item_id in workspace.catalog.ids]
        seconds: dict[str, list[float]] = {
            "index": [],
            "encode, default": [],
            "encode, our precision": [],
            "unchanged": [],
        }
        plain.encode(texts[:256])
        models.encoder.encode(texts[:256])
        for number in range(ROUNDS):
            path = Path(folder) / f"index-{number}"
            seconds["index"].append(timed(lambda path=path: index_from_nothing(workspace, models, path)))
            seconds["encode, default"].append(timed(lambda: plain.encode(texts)))
            seconds["encode, our precision"].append(timed(lambda: models.encoder.encode(texts)))
            seconds["unchanged"].append(timed(lambda path=path: index_unchanged(workspace, models, path)))
    default = [e / i for e, i in zip(seconds["encode, default"], seconds["index"], strict=True)]
    same = [e / i for e, i in zip(seconds["encode, our precision"], seconds["index"], strict=True)]
    figures = {
        "items": len(texts),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "throughput of indexing relative to SentenceTransformer.encode": spread(default),
        "the same, with encode in whyrec's precision": spread(same),
    }
    write_report("indexing", figures, rounds=ROUNDS)


if __name__ == "__main__":
    main()
