"""Batches made ahead of the step that needs them, in one background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from torch import Tensor

from mmret.training.sampler import BatchOrder

if TYPE_CHECKING:
    from mmret.training.fit import TrainingData

STEPS_AHEAD = 3
POLL_S = 0.2


@dataclass(frozen=True)
class StepBatches:
    """What one optimiser step needs: a batch and its sample numbers for each accumulated pass."""

    step: int
    indices: list[list[int]]
    batches: list[dict[str, Tensor]]


class Prefetch:
    """Iterate over the steps [first, last) with their batches; a fault in the data is raised where it is consumed."""

    def __init__(self, data: TrainingData, order: BatchOrder, first: int, last: int) -> None:
        """Prepare; the thread starts with the `with` block."""
        self._data, self._order, self._steps = data, order, range(first, last)
        self._ready: queue.Queue[StepBatches | BaseException] = queue.Queue(maxsize=STEPS_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mmret-prefetch", daemon=True)

    def __enter__(self) -> Prefetch:
        """Start working ahead."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread."""
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[StepBatches]:
        """Steps in order."""
        for _ in self._steps:
            item = self._ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self) -> None:
        try:
            for step in self._steps:
                if not self._put(self._load(step)):
                    return
        except BaseException as error:  # handed to the consumer, who alone can act on it
            self._put(error)

    def _load(self, step: int) -> StepBatches:
        order = self._order
        indices = [order.indices(step, micro) for micro in range(order.accumulation)]
        return StepBatches(step, indices, [self._data.batch(i, order.epoch(step), order.seed) for i in indices])

    def _put(self, item: StepBatches | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=POLL_S)
                return True
            except queue.Full:
                continue
        return False
