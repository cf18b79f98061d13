"""Windows with start and stop over recordings of any length, always the same ones for the same recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WindowConfig:
    """Length of a window and step from one to the next, in seconds."""

    window_s: float
    hop_s: float

    def __post_init__(self) -> None:
        """Refuse windows that would not cover a recording."""
        if not 0 < self.hop_s <= self.window_s:
            raise ValueError(f"need 0 < hop_s <= window_s, got hop {self.hop_s} s and window {self.window_s} s")


@dataclass(frozen=True)
class Segment:
    """A piece of a recording: where it lies and its samples (time,)."""

    start_s: float
    stop_s: float
    waveform: NDArray[np.float32]


def segment_bounds(samples: int, window: int, hop: int) -> list[tuple[int, int]]:
    """Start and stop of each window; the last is right-aligned, a short recording is one window of its own length.

    >>> segment_bounds(10, 4, 3), segment_bounds(11, 4, 3), segment_bounds(3, 4, 3)
    ([(0, 4), (3, 7), (6, 10)], [(0, 4), (3, 7), (6, 10), (7, 11)], [(0, 3)])
    """
    if samples <= window:
        return [(0, samples)] if samples else []
    bounds = [(start, start + window) for start in range(0, samples - window + 1, hop)]
    if bounds[-1][1] < samples:
        bounds.append((samples - window, samples))
    return bounds


def iter_segments(blocks: Iterable[NDArray[np.float32]], sample_rate: int, config: WindowConfig) -> Iterator[Segment]:
    """Cut a stream of mono blocks into the windows of segment_bounds, holding little more than one window."""
    window = max(1, round(config.window_s * sample_rate))
    hop = max(1, round(config.hop_s * sample_rate))
    held = np.empty(0, np.float32)  # samples from `offset` on
    offset = 0
    next_start = 0
    last_stop = 0

    def segment(start: int, stop: int) -> Segment:
        samples = held[start - offset : stop - offset].copy()
        return Segment(start / sample_rate, stop / sample_rate, samples)

    for block in blocks:
        held = np.concatenate([held, block])
        while next_start + window <= offset + len(held):
            yield segment(next_start, next_start + window)
            last_stop = next_start + window
            next_start += hop
        # The right-aligned last window may reach one window back from the end.
        keep_from = min(next_start, offset + len(held) - window)
        if keep_from > offset:
            held, offset = held[keep_from - offset :], keep_from
    total = offset + len(held)
    if total > last_stop:
        yield segment(max(0, total - window), total)
