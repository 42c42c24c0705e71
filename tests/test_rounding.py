"""The student's tables in fewer bits: as near and as small as is said, and no other order to speak of."""

import numpy as np
import pytest
from contracts import check_recommends
from safetensors.numpy import load_file, save_file
from scipy.stats import kendalltau
from scorer_worlds import ITEMS, some_histories
from test_student import cold_world

from retrieval.cf.rounding import restored, rounded
from retrieval.cf.student import Student, StudentConfig
from retrieval.errors import InputError

SHARES = {"float32": 1.0, "float16": 0.5, "int8": 0.25}


@pytest.fixture(scope="module")
def student():
    return Student.fit(cold_world(users=80, items=60), StudentConfig(own=20.0))


def stored(student, precision, folder):
    """What is read again from a file in this precision, and the file."""
    path = folder / precision
    save_file(rounded(student.arrays(), precision), path)
    return Student.from_arrays(student.config, student.items, restored(load_file(path))), path


@pytest.mark.parametrize(("precision", "agreement", "near"), [("float16", 0.99, 1e-3), ("int8", 0.95, 0.03)])
def test_fewer_bits_order_nearly_as_float32(student, tmp_path, precision, agreement, near):
    histories = cold_world(users=80, items=60).histories
    exact, rough = student.score(histories), stored(student, precision, tmp_path)[0].score(histories)
    assert np.mean([kendalltau(*pair).statistic for pair in zip(exact, rough, strict=True)]) > agreement
    assert 0 < np.abs(exact - rough).max() < near * np.ptp(exact)


def test_files_are_as_small_as_is_said(student, tmp_path):
    sizes = {name: stored(student, name, tmp_path)[1].stat().st_size for name in SHARES}
    tables = student.parts.nbytes + student.vectors.nbytes
    beside = student.items * 4 * 3 + 1_000  # bias, two scales, the names
    for name, share in SHARES.items():
        assert share * tables < sizes[name] <= share * tables + beside


def test_float32_is_left_as_it_is(student, tmp_path):
    again, _ = stored(student, "float32", tmp_path)
    np.testing.assert_array_equal(again.parts, student.parts)
    np.testing.assert_array_equal(again.bias, student.bias)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_every_precision_keeps_the_contract_of_scorers(tmp_path, precision):
    twin = Student.of_tables(StudentConfig(), *np.random.default_rng(0).normal(size=(2, len(ITEMS), 5)).astype("f4"))
    check_recommends(stored(twin, precision, tmp_path)[0], some_histories(), tolerance=1e-4)


def test_rows_of_nothing_stay_nothing():
    tables = {"vectors": np.zeros((3, 4), dtype=np.float32), "bias": np.ones(3, dtype=np.float32)}
    for precision in ("float16", "int8"):
        again = restored(rounded(tables, precision))
        np.testing.assert_array_equal(again["vectors"], tables["vectors"])
        np.testing.assert_array_equal(again["bias"], tables["bias"])


def test_what_float16_cannot_hold_is_refused():
    with pytest.raises(InputError, match="the table parts has numbers that float16 cannot hold"):
        rounded({"parts": np.full((2, 2), 1e6, dtype=np.float32)}, "float16")
