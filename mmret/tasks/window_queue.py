"""Windows of recordings on their way through the encoder."""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmret.errors import MmretError
from mmret.tasks.ahead import EncodingThread
from mmret.tasks.search_encoder import SearchEncoder

log = logging.getLogger(__name__)

Owner = TypeVar("Owner")  # whose window it is
Vectors = NDArray[np.float32]


class WindowQueue(Generic[Owner]):
    """Windows that wait, and one batch of them that is encoded meanwhile."""

    def __init__(self, encoder: SearchEncoder) -> None:
        self._encoder = encoder
        self._waiting: list[tuple[Owner, Vectors]] = []
        self._encoding: list[Owner] = []
        self._thread = EncodingThread(self._vectors, encoder.dim)

    def __len__(self) -> int:
        """Count the windows that wait."""
        return len(self._waiting)

    def append(self, owner: Owner, waveform: Vectors) -> None:
        """Let a waveform (time,) wait."""
        self._waiting.append((owner, waveform))

    def forget(self, owner: Owner) -> None:
        """Drop what waits of an owner."""
        self._waiting = [waiting for waiting in self._waiting if waiting[0] is not owner]

    def start(self) -> None:
        """Begin to encode all that waits; the batch before it has been taken."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._encoding = [owner for owner, _ in waiting]
            self._thread.start([waveform for _, waveform in waiting])

    def encoded(self) -> list[tuple[Owner, Vectors]]:
        """Wait for the batch at work: each owner with its vector (dim,), not finite where there is none."""
        owners, self._encoding = self._encoding, []
        return list(zip(owners, self._thread.vectors(), strict=True)) if owners else []

    def close(self) -> None:
        """End the encoding; what is at work is given up."""
        self._thread.close()

    def _vectors(self, waveforms: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Vectors (waveforms, dim); NaN for a waveform (time,) that the encoder cannot take."""
        try:
            return self._encoder.encode_waveforms(waveforms)
        except (MmretError, OSError) as error:
            if len(waveforms) == 1:
                log.warning("%s: %s", self._encoder.name, error)
                return np.full((1, self._encoder.dim), np.nan, np.float32)
        # one of them is at fault: its neighbours must not take the blame
        return np.concatenate([self._vectors([waveform]) for waveform in waveforms])
