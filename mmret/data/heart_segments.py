"""Training segments of heart recordings: 5 s of a recording with the label of its patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmret.audio.decode import decode
from mmret.data.circor import MURMURS, SAMPLE_RATE, Patient, training_segments
from mmret.errors import DataLayoutError

_FULL_SCALE = 32_768


class HeartSegments:
    """Every segment of 5 s of some patients as `waveform` (batch, 80000) with one-hot `target` (batch, 3).

    Segments are held in memory as 16-bit numbers, which is what the published recipe stores: 2.9 GB for the training
    patients of a published split. `labels` (segments,) are rows of MURMURS.
    """

    def __init__(self, patients: Sequence[Patient]) -> None:
        self._segments: list[NDArray[np.int16]] = []
        labels = []
        for patient in patients:
            for recording in patient.recordings:
                cut = training_segments(decode(recording.path, SAMPLE_RATE))
                self._segments += [_as_int16(segment) for segment in cut]
                labels += [MURMURS.index(patient.murmur)] * len(cut)
        if not labels:
            raise DataLayoutError(f"{len(patients)} patients have no recording of at least 2.5 s")
        self.labels = np.array(labels, np.int64)

    def __len__(self) -> int:
        """Count the segments."""
        return len(self._segments)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Segments and targets; nothing is drawn."""
        waves = np.stack([self._segments[index] for index in indices]).astype(np.float32) / _FULL_SCALE
        targets = np.eye(len(MURMURS), dtype=np.float32)[self.labels[list(indices)]]
        return {"waveform": torch.from_numpy(waves), "target": torch.from_numpy(targets)}

    def counts(self) -> Tensor:
        """Segments of each class (3,); a class without any is refused, since it could not be weighted."""
        counts = np.bincount(self.labels, minlength=len(MURMURS))
        if not counts.all():
            raise DataLayoutError(f"no training patient is {MURMURS[int(counts.argmin())]}: every class is needed")
        return torch.from_numpy(counts).float()


def _as_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.rint(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
