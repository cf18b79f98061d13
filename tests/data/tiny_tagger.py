"""A tagger folder of the real layout with a few random weights, for tests without the real teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("Speech", "Music", *(f"Sound {number}" for number in range(2, 527)))
EMBEDDING = 384


def write_tagger(folder: Path) -> Path:
    """Write mn04_as.onnx, frontend.npz and classes.csv into `folder`; the map has one step for 32 frames."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    mel = np.abs(rng.standard_normal((128, 513))).astype(np.float32) / 513
    np.savez(folder / "frontend.npz", mel=mel, window=np.hanning(1024).astype(np.float32))
    rows = [f"{row},/m/{row},{name}" for row, name in enumerate(CLASSES)]
    (folder / "classes.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    weights = {
        "kernel": rng.standard_normal((EMBEDDING, 1, 32, 32)).astype(np.float32) / 32,
        "classifier": rng.standard_normal((EMBEDDING, len(CLASSES))).astype(np.float32) / 16,
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["logmel", "kernel"], ["map"], strides=[32, 32], pads=[0, 0, 16, 31]),
            helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("ReduceMean", ["map"], ["embedding"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["flat", "classifier"], ["logits"]),
        ],
        "tagger",
        [helper.make_tensor_value_info("logmel", TensorProto.FLOAT, ["batch", 1, 128, "frames"])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(CLASSES)]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "mn04_as.onnx"))
    return folder
