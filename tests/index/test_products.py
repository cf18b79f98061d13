"""The graphs that multiply are those that the package onnx writes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import DTypeLike
from onnx import TensorProto, helper

from mmret.index.products import GRAPHS, products


def matrix(name: str, rows: str, columns: str, numbers: int = TensorProto.FLOAT) -> object:
    return helper.make_tensor_value_info(name, numbers, [rows, columns])


@pytest.mark.parametrize("numbers", ["float32", "float16"])
def test_a_graph_is_one_product_of_two_matrices(numbers: str) -> None:
    nodes = [helper.make_node("MatMul", ["X", "Q"], ["S"])]
    vectors = matrix("X", "r", "d")
    if numbers == "float16":
        nodes.insert(0, helper.make_node("Cast", ["H"], ["X"], to=TensorProto.FLOAT))
        vectors = matrix("H", "r", "d", TensorProto.FLOAT16)
    graph = helper.make_graph(nodes, "scan", [vectors, matrix("Q", "d", "q")], [matrix("S", "r", "q")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    assert model.SerializeToString() == GRAPHS[numbers]


@pytest.mark.parametrize("numbers", [np.float32, np.float16])
def test_products_are_within_their_rounding_of_double_precision(numbers: DTypeLike) -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    rows = generator.standard_normal((37, 50), np.float32).astype(numbers)
    columns = generator.standard_normal((50, 3), np.float32)
    exact = rows.astype(np.float64) @ columns
    bound = 52 * 2.0**-24 * np.abs(rows.astype(np.float64)) @ np.abs(columns)
    assert (np.abs(products(rows, columns) - exact) <= bound).all()
