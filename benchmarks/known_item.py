"""Are items found by words of their titles? Known-item search (Azzopardi, de Rijke & Balog 2007) on MovieLens-small.

A query is two words of three letters or more out of the title of an item drawn at random; the item must be found.
By what the words mean alone, by the words as they stand alone, by both put together by rank, and as they are served.
"""

import tempfile
from pathlib import Path

import numpy as np

from agent.models import Models
from agent.settings import load_settings
from benchmarks.reporting import write_report
from retrieval.data.demo import movielens_small
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.fusion import rrf
from retrieval.text.lexical import LexicalIndex, words
from retrieval.text.profile import Profile, interest_in
from retrieval.text.whitening import Whitening

SEED, QUERIES = 0, 1000
PLACES = 10
SHORTEST = 3  # letters of a word


def queries(workspace: Workspace, rng: np.random.Generator) -> list[tuple[int, str]]:
    """Rows of items, and what is asked for."""
    found: list[tuple[int, str]] = []
    for row in rng.permutation(len(workspace.catalog)):
        title = [word for word in words(workspace.catalog.title(workspace.catalog.ids[row])) if len(word) >= SHORTEST]
        if len(title) > 1 and len(found) < QUERIES:
            found.append((int(row), " ".join(rng.choice(title, 2, replace=False))))
    return found


def main() -> None:
    settings = load_settings(None)
    models = Models(settings)
    with tempfile.TemporaryDirectory() as folder:
        create_workspace(Path(folder) / "ml", *movielens_small(), skip_invalid=True)
        workspace = Workspace(Path(folder) / "ml")
        raw = models.encoder.encode([workspace.catalog.text(item_id) for item_id in workspace.catalog.ids])
        whitening, lexical = Whitening.fit(raw), LexicalIndex.build(workspace.catalog)
        asked = queries(workspace, np.random.default_rng(SEED))
    vectors = whitening(raw)
    meant = whitening(models.query_encoder.encode([query for _, query in asked]))
    ranks: dict[str, list[int]] = {}
    for (row, query), vector in zip(asked, meant, strict=True):
        interest, matches = interest_in(vector[None, :]), lexical.scores(query)
        cosines = interest.score(vectors)
        ways = {
            "meaning (cosine)": cosines,
            "words (BM25)": matches,
            "both by rank (RRF)": rrf(np.stack([cosines, matches])),
            "both as served": Profile((), words=query, asked=interest).score(vectors, matches),
        }
        for name, scores in ways.items():
            ranks.setdefault(name, []).append(1 + int((scores > scores[row]).sum()))
    found = {name: np.array(places) for name, places in ranks.items()}
    figures: dict[str, object] = {
        name: {"mrr": round(float((1 / at).mean()), 4), f"hit@{PLACES}": round(float((at <= PLACES).mean()), 4)}
        for name, at in found.items()
    }
    write_report("known-item", figures, seed=SEED, queries=len(asked), items=len(vectors))


if __name__ == "__main__":
    main()
