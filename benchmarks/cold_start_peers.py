"""What else one could take for items that nobody has touched, on the same split by the same metric.

    python -m benchmarks.cold_start_peers --work FOLDER      needs: pip install --no-deps rectools-lightfm

MovieLens-small, split cold-items, seeds 0 to 2, liked = 4 or more, only the held-out items ranked. Vectors of
all-MiniLM-L6-v2 in plain Chroma, asked with the mean of what somebody liked; LightFM on genres, decades and words of
titles (WARP); EASE with the texts as further users; and whyrec's scorers of text with their default constants, on the
vectors that `whyrec index` makes (those of all-MiniLM-L6-v2 and its fifth layer, whitened). The constants of LightFM
and EASE are the best of a few on the validation part of seed 0. `whyrec evaluate` measures whyrec with tuned constants
(`movielens-small-cold-items.json`).
"""

import argparse
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import chromadb
import numpy as np
from lightfm import LightFM
from scipy.sparse import coo_matrix, csr_array, csr_matrix, hstack, identity

from agent.models import Models
from agent.settings import load_settings
from benchmarks.reporting import write_report
from retrieval.cf.ease import weights_of_gram
from retrieval.cf.scorer import TrainingData
from retrieval.cf.scorers import SCORERS
from retrieval.data.catalog import Catalog
from retrieval.data.demo import movielens_small
from retrieval.data.splits import Task, make_split
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.metrics import find_hits, ranking_metrics
from retrieval.ranking import Columns, Floats, top
from retrieval.text.facts import Facts
from retrieval.text.lexical import words
from retrieval.text.whitening import Whitening

SEEDS = (0, 1, 2)
LIKED = 4.0
MOST = 20
SHARED = 2  # a word of so many titles is a feature
Lists = Callable[[Task], Columns]


def best(task: Task, scores: Floats) -> Columns:
    """(n, 20) columns of the candidates with the highest scores (n, m)."""
    scores = np.where(task.candidates[None, :], scores, -np.inf).astype(np.float32)
    return top(scores, MOST, "peer").columns


def plain_chroma(task: Task, raw: Floats) -> Columns:
    """The nearest candidates to the mean of the liked items' vectors, as Chroma finds them."""
    columns = np.flatnonzero(task.candidates)
    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection(
        f"peer-{uuid.uuid4().hex}", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    collection.add(ids=[str(column) for column in columns], embeddings=raw[columns])
    queries = task.histories.positives(LIKED) @ raw
    found = collection.query(query_embeddings=queries, n_results=MOST, include=[])["ids"]
    return np.array([[int(column) for column in ids] for ids in found])


def tags(catalog: Catalog, ids: Sequence[str]) -> csr_matrix:
    """(m, t) genres, decade and words of the title."""
    frame = catalog.frame[[catalog.row(item_id) for item_id in ids]]
    rows = [
        [f"genre {genre}" for genre in genres or []]
        + ([f"decade {year // 10}"] if year else [])
        + [f"word {word}" for word in set(words(title))]
        for title, year, genres in frame.select("title", "year", "genres").iter_rows()
    ]
    names, counts = np.unique([tag for row in rows for tag in row], return_counts=True)
    place = {name: column for column, name in enumerate(names[counts >= SHARED].tolist())}
    entries = [(row, place[tag]) for row, found in enumerate(rows) for tag in found if tag in place]
    at = np.array(entries).T
    return csr_matrix((np.ones(len(entries), dtype=np.float32), at), shape=(len(ids), len(place)))


def lightfm(task: Task, features: csr_matrix, components: int, epochs: int) -> Columns:
    """Hybrid matrix factorisation (Kula 2015): an item is the mean of its tags and, where it has events, its own."""
    liked = task.train.positives(LIKED)
    warm = (np.bincount(liked.indices, minlength=liked.shape[1]) > 0).astype(np.float32)
    own = identity(len(warm), dtype=np.float32, format="csr").multiply(warm[:, None])
    both = csr_matrix(hstack([own, features]))
    both = csr_matrix(both.multiply(1 / np.maximum(both.sum(axis=1), 1)))
    model = LightFM(no_components=components, loss="warp", random_state=0)
    both.indices, both.indptr = both.indices.astype(np.int32), both.indptr.astype(np.int32)  # all that it takes
    users_by = np.repeat(np.arange(liked.shape[0], dtype=np.int32), np.diff(liked.indptr))
    events = coo_matrix((liked.data, (users_by, liked.indices.astype(np.int32))), shape=liked.shape)
    model.fit(events, item_features=both, epochs=epochs)
    place = {user: row for row, user in enumerate(task.train.users)}
    rows = [place[user] for user in task.histories.users]
    bias, vectors = model.get_item_representations(both)
    _, users = model.get_user_representations()
    return best(task, users[rows] @ vectors.T + bias)


def ease_with_text(task: Task, raw: Floats, strength: float, text: float) -> Columns:
    """EASE whose Gram matrix has γ·EEᵀ of the centred vectors added (Jeunen, Van Balen & Goethals 2020)."""
    liked = csr_array(task.train.positives(LIKED))
    centred = raw - raw.mean(axis=0)
    gram = np.asfortranarray((liked.T @ liked).toarray() + text * (centred @ centred.T), dtype=np.float32)
    gram[np.diag_indices_from(gram)] += np.float32(strength)
    weights = weights_of_gram(gram)
    return best(task, task.histories.positives(LIKED) @ weights)


def ours(task: Task, name: str, white: Floats, facts: Facts) -> Columns:
    """One of whyrec's scorers with its default constants."""
    kind = SCORERS[name]
    scorer = kind.fit(TrainingData(task.train, white, 0, facts), kind.config_type(positive_from=LIKED))
    return scorer.top(task.histories, MOST, candidates=task.candidates).columns


def figures(task: Task, lists: Lists) -> tuple[float, float]:
    """NDCG@10 and Recall@20 over the users who have a relevant item."""
    relevant = task.relevant(LIKED)
    hits, counts = find_hits(lists(task), relevant), np.diff(relevant.indptr).astype(np.int64)
    ndcg, recall = ranking_metrics(hits, counts, 10)["ndcg"], ranking_metrics(hits, counts, MOST)["recall"]
    return float(np.nanmean(ndcg)), float(np.nanmean(recall))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    root = parser.parse_args().work / "movielens-small-peers"
    if not root.exists():
        create_workspace(root, *movielens_small(), skip_invalid=True)
    workspace = Workspace(root)
    ids = sorted(workspace.catalog.ids)
    texts, models = [workspace.catalog.text(item_id) for item_id in ids], Models(load_settings(None))
    raw, layered = models.query_encoder.encode(texts), models.encoder.encode(texts)
    white, facts = Whitening.fit(layered)(layered), Facts.of(workspace.catalog, ids)
    events, features = workspace.events().collect(), tags(workspace.catalog, ids)
    splits = [make_split("cold-items", events, seed, workspace.times) for seed in SEEDS]
    validation = splits[0].task("validation", ids)

    def chosen(build: Callable[..., Columns], *choices: Sequence[float]) -> tuple[Lists, tuple[float, ...]]:
        ways = [(partial(build, **dict(zip(names[build], way, strict=True))), way) for way in product(*choices)]
        return max(ways, key=lambda way: figures(validation, way[0])[0])

    with_features = partial(lightfm, features=features)
    with_text = partial(ease_with_text, raw=raw)
    names = {with_features: ("components", "epochs"), with_text: ("strength", "text")}
    light, light_at = chosen(with_features, (32, 128), (10, 40))
    ease, ease_at = chosen(with_text, (30.0, 300.0), (100.0, 1000.0))
    systems: dict[str, Lists] = {
        "MiniLM in plain Chroma": partial(plain_chroma, raw=raw),
        f"LightFM with features (components, epochs {light_at})": light,
        f"EASE with text rows (λ, γ {ease_at})": ease,
    }
    for name in ("cosine", "soft-knn", "tower", "text-ease"):
        systems[f"whyrec {name}, default constants"] = partial(ours, name=name, white=white, facts=facts)
    found: dict[str, object] = {}
    tests = [split.task("test", ids) for split in splits]
    for name, lists in systems.items():
        each = np.array([figures(task, lists) for task in tests])
        mean = each.mean(axis=0).round(4).tolist()
        found[name] = {"ndcg@10": mean[0], "recall@20": mean[1], "ndcg@10 by seed": each[:, 0].round(4).tolist()}
        print(name, found[name], flush=True)
    write_report("cold-start-peers", found, seeds=list(SEEDS), lightfm="rectools-lightfm")


if __name__ == "__main__":
    main()
