"""The audio graph of an exported folder on OpenVINO; sentences stay on ONNX Runtime."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret._telemetry import openvino
from mmret.encoder.manifest import AUDIO_GRAPH, FILE_NAME
from mmret.encoder.onnx_towers import OnnxTowers, audio_threads
from mmret.encoder.towers import Vectors
from mmret.errors import ModelFormatError


class OpenVinoTowers(OnnxTowers):
    """Towers of an exported fp32 folder."""

    runtime = "openvino"

    def __init__(self, folder: Path, *, one_sentence: bool = False) -> None:
        self._openvino = openvino()
        super().__init__(folder, one_sentence=one_sentence)

    def open_audio(self) -> None:
        """Check and compile the audio graph."""
        self._audio_model  # noqa: B018  # compiled when it is first asked for

    def _audio_vectors(self, log_mel: NDArray[np.float32]) -> Vectors:
        try:
            # What OpenVINO hands out lies in memory that its next run writes to.
            vectors: Vectors = self._audio_model([log_mel])[0].copy()
        except RuntimeError as error:
            raise ModelFormatError(f"the graphs of {self._folder} do not fit {FILE_NAME}: {error}") from None
        return vectors

    @cached_property
    def _audio_model(self) -> Any:
        path = self._verified(AUDIO_GRAPH)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bf16 where the processor has it
            "INFERENCE_NUM_THREADS": audio_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # pinned threads of several processes would meet on the first core
        }
        core = self._openvino.Core()
        try:
            return core.compile_model(core.read_model(str(path)), "CPU", settings)
        except RuntimeError as error:
            raise ModelFormatError(f"{path} cannot be opened by openvino: {error}") from None
