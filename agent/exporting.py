"""The student as one file for other programs."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from retrieval.cf.student import Student
from retrieval.errors import InputError

OPSET = 17


def export_npz(student: Student, items: Sequence[str], path: Path) -> None:
    """``items`` (m,) ids, ``parts`` and ``vectors`` (m, q), ``bias`` (m,), and ``weak``: see `Student`.

    ``liked_from``: from this value an event counts 1, below it ``weak``. Of somebody with no such event, those above
    the mean of their own count 1 (`retrieval.data.events.preferred`), which a program has to do by itself.
    """
    from_value = -np.inf if student.config.positive_from is None else student.config.positive_from
    scalars = {"weak": np.float32(student.config.weak), "liked_from": np.float32(from_value)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, items=np.array(items), **student.arrays(), **scalars)


def export_onnx(student: Student, path: Path) -> None:
    """A graph from ``history`` (n, m), 1 or ``weak`` for what was had and 0 elsewhere, to ``scores`` (n, m).

    Raises:
        InputError: the package onnx is not installed.
    """
    if find_spec("onnx") is None:
        raise InputError("the format onnx needs the package onnx: pip install 'whyrec[onnx]'; npz needs none")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tables = {"parts": student.parts, "vectors": np.ascontiguousarray(student.vectors.T), "bias": student.bias}
    nodes = [
        helper.make_node("MatMul", ["history", "parts"], ["sums"]),
        helper.make_node("LpNormalization", ["sums"], ["people"], axis=1, p=2),
        helper.make_node("MatMul", ["people", "vectors"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["scores"]),
    ]
    shape: list[str | int | None] = ["people", student.items]
    graph = helper.make_graph(
        nodes,
        "student",
        [helper.make_tensor_value_info("history", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(table, name) for name, table in tables.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="whyrec")
    model.ir_version = 10  # which onnxruntime has read since 2024
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
