"""Encoding on a thread of its own, so that the next recordings are decoded meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from mmret.encoder.encoder import batches_of_equal_length

Vectors = NDArray[np.float32]


class EncodingThread:
    """One batch of waveforms at work, no more; whoever started it takes its vectors before the next."""

    def __init__(self, encode: Callable[[list[Vectors]], Vectors], dim: int) -> None:
        self._encode = encode
        self._dim = dim
        self._stopped = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mmret-encode")
        self._running: Future[Vectors] | None = None

    def start(self, waveforms: Sequence[Vectors]) -> None:
        """Begin to encode waveforms, each (time,)."""
        assert self._running is None, "take the vectors of the last batch first"
        self._running = self._thread.submit(self._work, waveforms)

    def vectors(self) -> Vectors:
        """Wait for the vectors (waveforms, dim) of the batch that was started; its error is raised here."""
        assert self._running is not None, "no batch was started"
        running, self._running = self._running, None
        return running.result()

    def close(self) -> None:
        """End the thread; a batch at work is given up between two calls of the encoder."""
        self._stopped.set()
        self._thread.shutdown(cancel_futures=True)

    def _work(self, waveforms: Sequence[Vectors]) -> Vectors:
        vectors = np.zeros((len(waveforms), self._dim), np.float32)
        for rows in batches_of_equal_length(waveforms):  # as the encoder would split them, with a stop between
            if self._stopped.is_set():
                break
            vectors[rows] = self._encode([waveforms[row] for row in rows])
        return vectors
