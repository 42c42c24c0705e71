"""End to end on MovieLens-small with the packaged encoder and language model, through the command line."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from finetune.language_model import load_language_model
from finetune.ranker import LMRanker
from retrieval.contracts import RankRequest
from retrieval.data.workspace import Workspace
from retrieval.model_source import locate_model

pytestmark = pytest.mark.realdata
COMMAND = [sys.executable, "-c", "from agent.cli import main; main()"]
USER = "15"


def run(root, *arguments, code=0):
    result = subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "WHYREC_WORKSPACE": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == code, result.stderr
    return result


def rows(root, *arguments):
    return json.loads(run(root, *arguments, "--format", "json").stdout)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("real") / "movielens"
    run(root, "init", "--demo", "movielens")
    # Interrupted in the middle, the workspace stays usable and the index is completed by the next run.
    process = subprocess.Popen(
        [*COMMAND, "index", "-w", str(root)], stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    while b"Encoding" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    run(root, "index")
    return root


@pytest.fixture(scope="module")
def seen(root):
    return set(Workspace(root).history(USER).items)


def test_nothing_changed_means_nothing_to_do(root):
    start = time.perf_counter()
    result = run(root, "index")
    assert "0 written, 0 deleted, 9,061 unchanged" in result.stderr
    assert time.perf_counter() - start < 10  # the target of 3 s is measured by benchmarks/indexing.py


def test_a_user_gets_k_unseen_items(root, seen):
    found = rows(root, "recommend", USER, "-k", "7")
    assert len({row["item_id"] for row in found}) == 7
    assert not {row["item_id"] for row in found} & seen
    scores = [row["score"] for row in found]
    assert scores == sorted(scores, reverse=True)


def test_likes_words_and_a_filter_together(root):
    where = "year >= 1990 and genres ~ Comedy"
    found = rows(root, "recommend", "--like", "Alien", "--like", "blade runner", "--query", "robots", "--where", where)
    catalog = Workspace(root).catalog
    assert len(found) == 10
    for row in found:
        metadata = catalog.metadata(row["item_id"])
        assert metadata["year"] >= 1990
        assert "Comedy" in metadata["genres"]


def test_a_described_film_is_among_the_first_three(root):
    found = rows(root, "recommend", "--query", "toy comes to life animation", "-k", "3")
    assert "Toy Story (1995)" in [row["title"] for row in found]


def test_full_mode_scores_every_row_and_without_a_weight_keeps_the_order(root):
    plain = rows(root, "recommend", USER, "--mode", "retrieval")
    full = rows(root, "recommend", USER, "--mode", "full", "--alpha", "0")
    assert [row["item_id"] for row in full] == [row["item_id"] for row in plain]
    assert len({row["stages"]["rank"] for row in full}) > 1


def test_explanations_name_the_item_and_the_history_only(root, seen):
    catalog = Workspace(root).catalog
    labels = {item_id: catalog.label(item_id) for item_id in catalog.ids}
    allowed_years = re.compile(r"\(\d{4}\)")
    for row in rows(root, "recommend", USER, "-k", "5", "--explain"):
        text = row["explanation"]
        assert row["title"] in text
        rest = text.replace(row["title"], "")
        for cited in row["evidence"]["cited"]:
            assert cited["item_id"] in seen
            assert cited["label"] in rest
            rest = rest.replace(cited["label"], "")
        assert not allowed_years.search(rest)
        named = [label for item_id, label in labels.items() if item_id not in seen and label in rest]
        assert named == []


def test_one_explanation_has_its_evidence(root, seen):
    found = rows(root, "explain", USER, "Terminator, The")[0]
    assert found["explanation"].count("The Terminator (1984)") == 1
    assert found["written_by"] == "lm"
    assert {cited["item_id"] for cited in found["evidence"]["cited"]} <= seen - {"1240"}
    shared = {attribute["value"] for attribute in found["evidence"]["attributes"]}
    assert shared <= {"Action", "Sci-Fi", "Thriller"}


def test_similar_films_are_similar(root):
    found = rows(root, "similar", "Toy Story", "-k", "3")
    assert {"Toy Story 2 (1999)", "Toy Story 3 (2010)"} <= {row["title"] for row in found}


def test_doctor_is_content(root):
    states = {row["what"]: row["state"] for row in rows(root, "doctor")}
    assert {state for what, state in states.items() if not what.startswith("import")} == {"ok"}


def test_another_encoder_is_refused_until_the_index_is_rebuilt(root, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    result = subprocess.run(
        [*COMMAND, "recommend", USER, "-w", str(root)],
        env={**os.environ, "WHYREC_ENCODER__MODEL": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "another encoder" in result.stderr
    assert "whyrec index --rebuild" in result.stderr


@pytest.fixture(scope="module")
def smollm2():
    from agent.settings import load_settings

    cache = load_settings(None).cache.expanduser()
    return load_language_model(locate_model("smollm2"), cache, device="cpu", precision="float32")


def test_packed_scores_equal_scores_one_by_one_on_smollm2(root, smollm2):
    """At most 1e-4 apart in float32, in any order."""
    catalog = Workspace(root).catalog
    ids = catalog.ids[:2000:100]
    history = tuple(catalog.text(item_id) for item_id in catalog.ids[5:200:17])
    request = RankRequest(history, tuple(ids), tuple(catalog.text(item_id) for item_id in ids))
    ranker = LMRanker(smollm2)
    prefix, segments = ranker.tokens(request)
    yes, no = smollm2.word_id(" yes"), smollm2.word_id(" no")
    with torch.inference_mode():
        logits = [smollm2.model(torch.tensor([prefix + segment])).logits[0, -1] for segment in segments]
    alone = np.array([float(row[yes] - row[no]) for row in logits])
    np.testing.assert_allclose(ranker.score([request])[0], alone, atol=1e-4)
    backwards = RankRequest(history, request.candidates[::-1], request.texts[::-1])
    np.testing.assert_allclose(ranker.score([backwards])[0], alone[::-1], atol=1e-4)


def test_control_tokens_in_titles_stay_letters_on_smollm2(smollm2):
    assert not set(smollm2.tokenizer.all_special_ids) & set(smollm2.text_ids("<|im_end|> <|im_start|> <|endoftext|>"))


def test_a_full_disk_stops_the_index_in_one_line_and_it_can_be_completed(tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n" + "".join(f"{n},Film number {n} <|im_end|>\n" for n in range(300)))
    run(tmp_path / "ws", "init", "--items", str(items))

    def little_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    arguments = [*COMMAND, "index", "-w", str(tmp_path / "ws")]
    stopped = subprocess.run(arguments, capture_output=True, text=True, check=False, preexec_fn=little_space)
    assert stopped.returncode == 1
    assert len([line for line in stopped.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "make room if the disk is full" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "Index: 300 items" in run(tmp_path / "ws", "index").stderr
    assert len(rows(tmp_path / "ws", "similar", "id:7", "-k", "3")) == 3


def test_movielens_100k_comes_whole_with_its_users(tmp_path):
    said = run(tmp_path / "ws", "init", "--demo", "movielens-100k").stderr
    assert "items: 1,682 of 1,682 rows kept" in said
    assert "events: 100,000 of 100,000 rows kept" in said
    assert "users: 943 of 943 rows kept" in said
    assert "left out" not in said
    workspace = Workspace(tmp_path / "ws")
    items, users = workspace.catalog.frame, workspace.users()
    assert items.schema["year"].is_integer()
    assert items["year"].null_count() == 2
    genres = items["genres"].explode(empty_as_null=False)
    assert (genres.n_unique(), (genres == "Drama").sum(), items["genres"].null_count()) == (18, 725, 0)
    assert workspace.catalog.text("1") == "Toy Story (1995). Genres: Animation, Children's, Comedy"
    assert workspace.events().collect()["user_id"].n_unique() == 943
    assert users.columns == ["user_id", "age", "gender", "occupation"]
    assert (users["age"].min(), users["age"].max(), users["occupation"].n_unique()) == (7, 73, 21)
    assert users["gender"].value_counts(sort=True).rows() == [("M", 670), ("F", 273)]
    assert 'noun = "film"' in workspace.settings_path.read_text()
