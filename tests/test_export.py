"""The student as one file: other programs score as whyrec does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scorer_worlds import ITEMS, some_histories, topic_world

from agent import exporting
from agent.exporting import export_npz, export_onnx
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.errors import InputError


@pytest.fixture(scope="module")
def student():
    twin = Student.fit(topic_world(), StudentConfig(positive_from=4.0))
    return twin.taught(twin.vectors, np.linspace(0, 1, len(ITEMS), dtype=np.float32))


def weights(histories, weak, liked_from):
    """(n, m) by hand: 1 for what was liked, weak for the rest."""
    found = np.zeros(histories.values.shape, dtype=np.float32)
    for row in range(len(histories)):
        part = slice(*histories.values.indptr[row : row + 2])
        values = histories.values.data[part]
        found[row, histories.values.indices[part]] = np.where(values >= liked_from, 1, weak)
    return found


def test_arrays_are_enough_to_score(student, tmp_path):
    histories = some_histories()
    export_npz(student, ITEMS, tmp_path / "student.npz")
    with np.load(tmp_path / "student.npz", allow_pickle=False) as file:
        assert file["items"].tolist() == list(ITEMS)
        sums = weights(histories, file["weak"], file["liked_from"]) @ file["parts"]
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        scores = sums / np.where(lengths > 0, lengths, 1) @ file["vectors"].T + file["bias"]
    np.testing.assert_allclose(scores, student.score(histories), atol=1e-4)


def test_the_graph_scores_as_the_student_does(student, tmp_path):
    histories = some_histories()
    export_onnx(student, tmp_path / "student.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "student.onnx"), providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"history": weights(histories, student.config.weak, 4.0)})
    np.testing.assert_allclose(scores, student.score(histories), atol=1e-4)


def test_the_graph_needs_its_package(student, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="whyrec"):
        export_onnx(student, tmp_path / "student.onnx")


def test_the_readmes_ten_lines_score_as_the_student_does(student, tmp_path, monkeypatch):
    readme = (Path(exporting.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (code,) = [part.partition("```")[0] for part in readme.split("```python\n")[1:] if "student.npz" in part]
    export_npz(student, ITEMS, tmp_path / "student.npz")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code.replace('{"1": 5.0, "2": 3.5}', '{"a-0": 5.0, "b-1": 3.5}'), found)  # the code of our own README
    history = Histories.of([History(("a-0", "b-1"), (5.0, 3.5))], ITEMS)
    np.testing.assert_allclose(found["scores"], student.score(history)[0], atol=1e-4)
    assert found["best"][0] == ITEMS[int(found["scores"].argmax())]
