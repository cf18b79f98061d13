"""int8 graphs: what is quantised in which architecture, and the proof that the vectors are still the same ones.

Transformers: the weights of every linear layer are int8, one scale an output channel, and ONNX Runtime finds the scale
of the activations when it runs (dynamic). Convolutions have no dynamic kernel that is fast: there the scales of the
activations are measured beforehand, on the sample recordings. What is left, attention, norms and heads, stays fp32, and
so do the first two convolutions: they have few products, and rounding there moved the vectors of mmret-mini three times
as far.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.encoder.towers import Vectors
from mmret.errors import ModelFormatError

SMALLEST_COSINE = 0.999
EXACT_CONVOLUTIONS = 2
SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def sample_recordings() -> list[Path]:
    """The recordings that ship with the package: they calibrate, and they judge."""
    return sorted(SAMPLES.glob("*.ogg"))


def quantise_linear(graph: Path, out: Path) -> None:
    """Write `graph` with the linear layers in int8, activations scaled as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _prepared(graph) as prepared:
        quantize_dynamic(
            prepared,
            out,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
            extra_options={"MatMulConstBOnly": True},  # products of attention keep their precision
        )


def quantise_convolutions(graph: Path, out: Path, log_mels: Sequence[NDArray[np.float32]]) -> None:
    """Write `graph` with the convolutions in int8, activations scaled by what `log_mels` (1, 1, mels, frames) reach."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _prepared(graph) as prepared:
        nodes = onnx.load(str(prepared), load_external_data=False).graph.node
        convolutions = [node.name for node in nodes if node.op_type == "Conv"]
        quantize_static(
            prepared,
            out,
            _Calibration(log_mels),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=convolutions[:EXACT_CONVOLUTIONS],
        )


def check_vectors(name: str, exact: Vectors, quantised: Vectors) -> None:
    """Refuse int8 vectors (recordings, dim) whose mean cosine to the exact ones is too small to share an index."""
    cosines = (exact * quantised).sum(axis=1)
    if not cosines.mean() >= SMALLEST_COSINE:  # true for NaN, too
        raise ModelFormatError(
            f"{name} in int8 keeps a mean cosine of {cosines.mean():.4f} to fp32 on {len(cosines)} sample recordings "
            f"(smallest {cosines.min():.4f}), and {SMALLEST_COSINE} is asked for. Export it with --precision fp32"
        )


class _Calibration:
    """Log-mels in the form that onnxruntime.quantization reads."""

    def __init__(self, log_mels: Sequence[NDArray[np.float32]]) -> None:
        self._left = iter(log_mels)

    def get_next(self) -> dict[str, Any] | None:
        """Inputs of the next run; None at the end."""
        log_mel = next(self._left, None)
        return None if log_mel is None else {"log_mel": log_mel}


@contextmanager
def _prepared(graph: Path) -> Iterator[Path]:
    """The graph with its constants folded and its shapes known, in a file that goes away again."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(dir=graph.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        yield prepared
