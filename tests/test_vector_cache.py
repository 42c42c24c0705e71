"""A text is encoded once, its vector is the same ever after, and files that cannot be used are named."""

import multiprocessing
import os
import resource
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from retrieval.errors import ModelError, WorkspaceError
from retrieval.text.cache import CachedEncoder
from retrieval.text.features import JoinedEncoder

TEXTS = ("Moon Base (1981)", "Bread Days. About: a story of cooking", "Amélie 東京 🚀", "x", "  x", "")
WORDS = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF), max_size=8)  # surrogates as well


class TextEncoder:
    """Each text has a random direction of its own; keeps what it was asked for."""

    fingerprint = "text-encoder"

    def __init__(self, dimension=8):
        self.dimension = dimension
        self.asked = []

    def encode(self, texts):
        assert len(texts)
        self.asked.append(list(texts))
        seeds = [zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts]
        vectors = np.stack([np.random.default_rng(seed).normal(size=self.dimension) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def remembering(folder: Path, encoder=None) -> CachedEncoder:
    return CachedEncoder(folder, "text-encoder", lambda: encoder or TextEncoder())


def knowing(folder: Path) -> CachedEncoder:
    """One that has nothing but what is on disk."""

    def load():
        raise ModelError("the model is gone")

    return CachedEncoder(folder, "text-encoder", load)


def rounded(texts, dimension=8):
    return TextEncoder(dimension).encode(texts).astype(np.float16).astype(np.float32)


def parts(folder):
    return sorted(path.name for path in folder.iterdir())


def part(number):
    return f"part-{number:06}.safetensors"


def test_a_vector_is_the_same_fresh_cached_and_read_from_disk(tmp_path):
    encoder = remembering(tmp_path)
    fresh = encoder.encode(TEXTS)
    assert (fresh.dtype, fresh.shape) == (np.float32, (6, 8))
    np.testing.assert_array_equal(fresh, rounded(TEXTS))
    np.testing.assert_array_equal(encoder.encode(TEXTS), fresh)
    np.testing.assert_array_equal(knowing(tmp_path).encode(TEXTS), fresh)
    np.testing.assert_array_equal(knowing(tmp_path).encode(TEXTS[::-1]), fresh[::-1])
    np.testing.assert_allclose(np.linalg.norm(fresh, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(fresh, TextEncoder().encode(TEXTS), atol=5e-4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(WORDS, max_size=6), max_size=6), st.randoms())
def test_a_vector_does_not_depend_on_what_was_encoded_before(tmp_path_factory, calls, random):
    folder = tmp_path_factory.mktemp("cache")
    encoder = remembering(folder)
    for texts in calls:
        if random.random() < 0.3:
            encoder = remembering(folder)
        np.testing.assert_array_equal(encoder.encode(texts), rounded(texts) if texts else np.zeros((0, 8)))
    everything = [text for texts in calls for text in texts]
    if everything:
        np.testing.assert_array_equal(knowing(folder).encode(everything), rounded(everything))


def test_a_text_is_encoded_once(tmp_path):
    first, second = TextEncoder(), TextEncoder()
    encoder = remembering(tmp_path, first)
    encoder.encode(["a", "b", "a", "a"])
    encoder.encode(["b", "c"])
    encoder.encode(["c", "a"])
    remembering(tmp_path, second).encode(["d", "a", "d"])
    assert (first.asked, second.asked) == ([["a", "b"], ["c"]], [["d"]])
    assert parts(tmp_path) == [part(0), part(1), part(2)]


def test_no_texts_give_no_vectors(tmp_path):
    for encoder in (remembering(tmp_path), remembering(tmp_path)):
        found = encoder.encode([])
        assert (found.shape, found.dtype) == ((0, 8), np.float32)
        encoder.encode(["a"])


@pytest.mark.parametrize(
    ("one", "other"),
    [("x", " x"), ("e\u0301", "é"), ("\ud800", "\udfff"), ("\ud83d\ude80", "🚀"), ("a\0", "a"), ("", " ")],
)
def test_texts_that_differ_are_kept_apart(tmp_path, one, other):
    np.testing.assert_array_equal(remembering(tmp_path).encode([one, other]), rounded([one, other]))
    np.testing.assert_array_equal(knowing(tmp_path).encode([other, one]), rounded([other, one]))


def test_the_model_is_loaded_when_a_text_is_new_and_not_before(tmp_path):
    with pytest.raises(ModelError, match="gone"):
        knowing(tmp_path).encode(["a"])
    remembering(tmp_path).encode(["a"])
    encoder = knowing(tmp_path)
    assert encoder.dimension == 8
    assert encoder.fingerprint == "text-encoder"
    with pytest.raises(ModelError, match="gone"):
        encoder.encode(["a", "b"])
    np.testing.assert_array_equal(encoder.encode(["a"]), rounded(["a"]))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_encoder_that_stops_leaves_what_was_there(tmp_path, error):
    class Stopping(TextEncoder):
        def encode(self, texts):
            super().encode(texts)
            raise error

    remembering(tmp_path).encode(["a"])
    with pytest.raises(error):
        remembering(tmp_path, Stopping()).encode(["a", "b"])
    assert parts(tmp_path) == [part(0)]
    np.testing.assert_array_equal(remembering(tmp_path).encode(["b", "a"]), rounded(["b", "a"]))


def killed_before_the_file_is_there(folder):
    Path.hardlink_to = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    remembering(folder).encode(["a", "b"])


def writes_again_and_again(folder, offset, barrier):
    link = Path.hardlink_to
    Path.hardlink_to = lambda *paths: time.sleep(0.02) or link(*paths)  # so that the other one is in the middle, too
    for step in range(20):
        barrier.wait(60)
        texts = [f"text {offset * step + one}" for one in range(3)]
        encoder = remembering(folder)
        np.testing.assert_array_equal(encoder.encode(texts), rounded(texts))


def run(*calls):
    """Each in a process of its own; how they ended."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(calls))
    given = [(*rest, barrier) if len(calls) > 1 else rest for _, *rest in calls]
    processes = [context.Process(target=call[0], args=rest) for call, rest in zip(calls, given, strict=True)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def test_a_process_killed_while_it_writes_leaves_what_was_there(tmp_path):
    remembering(tmp_path).encode(["x"])
    assert run((killed_before_the_file_is_there, tmp_path)) == [-signal.SIGKILL]
    np.testing.assert_array_equal(knowing(tmp_path).encode(["x"]), rounded(["x"]))
    encoder = TextEncoder()
    np.testing.assert_array_equal(remembering(tmp_path, encoder).encode(["x", "a", "b"]), rounded(["x", "a", "b"]))
    assert encoder.asked == [["a", "b"]]


def test_two_processes_that_write_at_once_leave_only_whole_files_with_right_vectors(tmp_path):
    assert run((writes_again_and_again, tmp_path, 1), (writes_again_and_again, tmp_path, 2)) == [0, 0]
    texts = [f"text {number}" for number in range(45)]
    np.testing.assert_array_equal(remembering(tmp_path).encode(texts), rounded(texts))
    assert all(path.suffix == ".safetensors" and path.name[0] != "." for path in tmp_path.iterdir())


def test_of_two_that_write_at_once_neither_loses_what_it_encoded(tmp_path):
    one, two = remembering(tmp_path), remembering(tmp_path)
    one.encode([])
    two.encode([])
    one.encode(["a"])
    two.encode(["b"])
    np.testing.assert_array_equal(knowing(tmp_path).encode(["a", "b"]), rounded(["a", "b"]))


def test_deleting_a_damaged_file_as_told_costs_no_other(tmp_path):
    for text in "abc":
        remembering(tmp_path).encode([text])
    (tmp_path / part(0)).unlink()
    remembering(tmp_path).encode(["a"])
    np.testing.assert_array_equal(knowing(tmp_path).encode(["a", "b", "c"]), rounded(["a", "b", "c"]))


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    for name in ("notes.txt", ".part-000000.safetensors.99", "part-1.tmp"):
        (tmp_path / name).write_text("something else")
    np.testing.assert_array_equal(remembering(tmp_path).encode(["a"]), rounded(["a"]))
    assert parts(tmp_path) == [".part-000000.safetensors.99", "notes.txt", part(0), "part-1.tmp"]


@pytest.mark.parametrize("content", [b"", b"something else", None], ids=["empty", "other", "cut"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path, content):
    remembering(tmp_path).encode(["a"])
    remembering(tmp_path).encode(["b"])
    path = tmp_path / part(0)
    path.write_bytes(path.read_bytes()[:-3] if content is None else content)
    for ask in (lambda: remembering(tmp_path).encode(["b"]), lambda: remembering(tmp_path).dimension):
        with pytest.raises(WorkspaceError, match=rf"{part(0)} cannot be read .*; delete it") as caught:
            ask()
        assert str(tmp_path) in str(caught.value)
    path.unlink()
    np.testing.assert_array_equal(remembering(tmp_path).encode(["a", "b"]), rounded(["a", "b"]))


@pytest.mark.parametrize("missing", ["keys", "vectors"])
def test_a_file_without_keys_or_vectors_is_named(tmp_path, missing):
    save_file({name: np.zeros(1) for name in {"keys", "vectors"} - {missing}}, tmp_path / part(0))
    with pytest.raises(WorkspaceError, match=rf"{part(0)} cannot be read"):
        remembering(tmp_path).encode(["a"])


FOREIGN = {
    "fewer vectors": lambda keys, vectors: (keys, vectors[:1]),
    "other dimension": lambda keys, vectors: (keys, vectors[:, :5]),
    "no rows": lambda keys, vectors: (keys, vectors.ravel()),
    "keys in two dimensions": lambda keys, vectors: (keys[None, :], vectors),
    "no numbers": lambda keys, vectors: (keys, np.full_like(vectors, np.nan)),
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_file_of_another_shape_is_named(tmp_path, foreign):
    remembering(tmp_path).encode(["a", "b"])
    arrays = load_file(tmp_path / part(0))
    keys, vectors = FOREIGN[foreign](arrays["keys"], arrays["vectors"])
    save_file({"keys": keys, "vectors": np.ascontiguousarray(vectors)}, tmp_path / part(0))
    with pytest.raises(WorkspaceError, match=rf"{part(0)} cannot be read"):
        remembering(tmp_path).encode(["a", "b", "c"])


def fills_the_disk(folder, error):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    with pytest.raises(error):
        remembering(folder).encode([str(number) for number in range(1000)])


def test_a_full_disk_leaves_what_was_there(tmp_path):
    remembering(tmp_path).encode(["a"])
    assert run((fills_the_disk, tmp_path, Exception)) == [0]
    assert parts(tmp_path) == [part(0)]
    np.testing.assert_array_equal(knowing(tmp_path).encode(["a"]), rounded(["a"]))


def test_a_full_disk_is_an_error_of_the_workspace(tmp_path):
    assert run((fills_the_disk, tmp_path, (WorkspaceError, OSError))) == [0]


def test_vectors_that_lie_by_columns_are_kept_as_they_are(tmp_path):
    class ByColumns(TextEncoder):
        def encode(self, texts):
            return np.asfortranarray(super().encode(texts))

    np.testing.assert_array_equal(remembering(tmp_path, ByColumns()).encode(["a", "b"]), rounded(["a", "b"]))
    np.testing.assert_array_equal(knowing(tmp_path).encode(["a", "b"]), rounded(["a", "b"]))


def test_joined_encoders_stand_side_by_side():
    small, large = TextEncoder(3), TextEncoder(5)
    joined = JoinedEncoder([small, large])
    found = joined.encode(TEXTS)
    assert (joined.dimension, joined.fingerprint) == (8, "text-encoder+text-encoder")
    assert (found.shape, found.dtype) == ((6, 8), np.float32)
    np.testing.assert_array_equal(found, np.hstack([small.encode(TEXTS), large.encode(TEXTS)]))


def test_one_encoder_joined_with_none_is_itself_and_none_is_an_error(tmp_path):
    np.testing.assert_array_equal(JoinedEncoder([TextEncoder()]).encode(TEXTS), TextEncoder().encode(TEXTS))
    with pytest.raises(ValueError, match="at least one encoder"):
        JoinedEncoder([])
    nothing = JoinedEncoder([remembering(tmp_path / "a"), remembering(tmp_path / "b", TextEncoder(3))]).encode([])
    assert nothing.shape == (0, 11)
