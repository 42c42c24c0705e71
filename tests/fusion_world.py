"""The planted world with scorers and a fusion of each kind."""

from conftest import WordEncoder
from test_fused import planted_rule

from retrieval.cf.fused import STRATEGIES, Fusion
from retrieval.cf.live import load_fusion, save_fusion
from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import SCORERS
from retrieval.cf.stack import Stack
from retrieval.data.histories import Histories
from retrieval.data.workspace import Workspace
from retrieval.text.index import ItemIndex

NAMES = ("soft-knn", "popularity", "item-knn")


def save(root, fusions, scorers, best="weighted", likes=None):
    workspace = Workspace(root)
    fingerprints = workspace.catalog_fingerprint, workspace.events_fingerprint
    made = {"command": "whyrec tune --x"}
    space = ItemIndex(root / "index", WordEncoder.fingerprint).space
    return save_fusion(
        root / "models" / "fusion", fusions, best, scorers, *fingerprints, made, space=space, likes=likes
    )


def load(root, wanted="auto"):
    workspace = Workspace(root)
    return load_fusion(root, wanted, workspace.catalog.ids, workspace.catalog_fingerprint)


def version_folder(root):
    folder = root / "models/fusion"
    return folder / (folder / "current").read_text(encoding="utf-8").strip()


def planted_histories(root):
    workspace = Workspace(root)
    return Histories.from_events(workspace.events().collect(), sorted(workspace.catalog.ids))


def planted_scorers(root, histories):
    vectors = ItemIndex(root / "index", WordEncoder.fingerprint).vectors(histories.items)
    data = TrainingData(histories, vectors)
    configs = [SCORERS[name].config_type(5.0 if name == "soft-knn" else None) for name in NAMES]
    return [SCORERS[name].fit(data, config) for name, config in zip(NAMES, configs, strict=True)]


def planted_fusions():
    chosen = {
        "weighted": Fusion("weighted", NAMES, weights=(0.3, 0.0, 0.7)),
        "cascade": Fusion("cascade", NAMES, pair=("soft-knn", "item-knn"), cut=8),
        "stacked": Fusion("stacked", NAMES, stack=Stack.fit(*planted_rule(200, seed=6), seed=0)),
    }
    return {name: chosen.get(name, Fusion(name, NAMES)) for name in STRATEGIES}
