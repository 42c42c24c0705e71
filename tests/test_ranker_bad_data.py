"""The ranker where events are many, few or say nothing: a sentence or an answer, never a crash."""

import numpy as np
import polars as pl
import pytest
from evaluation_world import EVENTS, START, events, items
from ranker_world import environment, indexed_world, said_by, whyrec

from retrieval.data.readers import Table
from retrieval.data.workspace import create_workspace

MANY = 100_000

pytestmark = pytest.mark.usefixtures("exactly")


def made_of(root, frame, folders, catalog=None):
    """An indexed workspace of these events."""
    known = items() if catalog is None else catalog
    create_workspace(root, Table(known.lazy(), "items"), Table(frame.lazy(), "events"), noun="story")
    assert whyrec("index", "-w", root, **environment(folders)).exit_code == 0
    return root


def tuned(root, folders, split="cold-items"):
    words = ("finetune", "ranker", "--split", split, "--lists", "4", "--trials", "1", "-w", root)
    return whyrec(*words, **environment(folders))


def test_a_user_with_a_hundred_thousand_events_is_served_and_hinders_no_tuning(tmp_path, folders):
    rng = np.random.default_rng(0)
    ids = items()["item_id"].to_numpy()[:-1]  # one is left to recommend
    zeal = pl.DataFrame(
        {
            "user_id": ["zealot"] * MANY,
            "item_id": rng.choice(ids, MANY),
            "rating": rng.integers(1, 6, MANY).astype(np.float64),
            "timestamp": START + np.arange(MANY),
        }
    ).select(EVENTS)
    root = made_of(tmp_path / "ws", pl.concat([events(), zeal]), folders)
    assert tuned(root, folders).exit_code == 0
    result = whyrec("recommend", "zealot", "--mode", "full", "-f", "json", "-w", root, **environment(folders))
    assert result.exit_code == 0, result.output
    assert items()["item_id"][-1] in result.stdout


def test_a_catalog_of_one_item_is_refused_in_a_sentence(tmp_path, folders):
    alone = items().head(1)
    frame = events().filter(pl.col("item_id") == alone["item_id"][0])
    result = tuned(made_of(tmp_path / "ws", frame, folders, alone), folders)
    assert result.exit_code == 1
    assert "leaves no user to predict for" in said_by(result)


def test_where_nobody_likes_anything_there_is_nothing_to_learn(tmp_path, folders):
    root = indexed_world(tmp_path / "ws", folders)
    settings = (root / "whyrec.toml").read_text()
    (root / "whyrec.toml").write_text(settings.replace("liked_from = 4.0", "liked_from = 5.5"))
    result = tuned(root, folders)
    assert result.exit_code == 1
    assert "leaves no user with a relevant item to validate on" in said_by(result)
    assert "events.liked_from" in said_by(result)
