"""The graph that multiplies is the one that the package onnx writes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from mmret.index.products import GRAPH, products


def test_the_graph_is_one_product_of_two_matrices() -> None:
    def matrix(name: str, rows: str, columns: str) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, columns])

    inputs, outputs = [matrix("X", "r", "d"), matrix("Q", "d", "q")], [matrix("S", "r", "q")]
    graph = helper.make_graph([helper.make_node("MatMul", ["X", "Q"], ["S"])], "scan", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    assert model.SerializeToString() == GRAPH


def test_products_are_within_their_rounding_of_double_precision() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    rows, columns = generator.standard_normal((37, 50), np.float32), generator.standard_normal((50, 3), np.float32)
    exact = rows.astype(np.float64) @ columns
    bound = 52 * 2.0**-24 * np.abs(rows.astype(np.float64)) @ np.abs(columns)
    assert (np.abs(products(rows, columns) - exact) <= bound).all()
