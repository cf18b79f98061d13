"""Products of vectors with many queries, or of float16 with any: ONNX Runtime's take half numpy's time, or a tenth."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret._telemetry import onnxruntime

MAX_THREADS = 4
# ONNX models of one or two nodes: S (r, q) = MatMul(X (r, d), Q (d, q)), all float32, and the same of Cast(H), H being
# float16. The package onnx would write them, but is not there where people search.
_QUERIES_AND_SCORES = (
    b"Z\x15\n\x01Q\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01d\n\x03\x12\x01q"
    b"b\x15\n\x01S\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01r\n\x03\x12\x01qB\x04\n\x00\x10\x11"
)
GRAPHS = {
    "float32": b"\x08\x08:^\n\x11\n\x01X\n\x01Q\x12\x01S\x22\x06MatMul\x12\x04scan"
    b"Z\x15\n\x01X\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01r\n\x03\x12\x01d" + _QUERIES_AND_SCORES,
    "float16": b"\x08\x08:w\n\x17\n\x01H\x12\x01X\x22\x04Cast*\t\n\x02to\x18\x01\xa0\x01\x02"
    b"\n\x11\n\x01X\n\x01Q\x12\x01S\x22\x06MatMul\x12\x04scan"
    b"Z\x15\n\x01H\x12\x10\n\x0e\x08\n\x12\n\n\x03\x12\x01r\n\x03\x12\x01d" + _QUERIES_AND_SCORES,
}


def products(rows: NDArray[np.floating[Any]], columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (rows, queries) of rows (rows, dim), float32 or float16, with columns (dim, queries)."""
    name = "H" if rows.dtype == np.float16 else "X"
    scores: NDArray[np.float32] = _session(rows.dtype.name).run(None, {name: rows, "Q": columns})[0]
    return scores


@cache
def _session(numbers: str) -> Any:
    runtime = onnxruntime()  # here, so that a single query of float32 does not load it
    options = runtime.SessionOptions()
    options.intra_op_num_threads = min(len(os.sched_getaffinity(0)), MAX_THREADS)
    # Threads that spin while they wait would take the cores from others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(GRAPHS[numbers], options, providers=["CPUExecutionProvider"])
