"""A part of a recording, by seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.errors import AudioError


def excerpt(path: Path, sample_rate: int, start_s: float, stop_s: float | None) -> NDArray[np.float32]:
    """Waveform (time,) of a recording from start_s to stop_s, or to its end; what lies behind is not decoded."""
    first, last = round(start_s * sample_rate), None if stop_s is None else round(stop_s * sample_rate)
    parts, reached = [], 0
    for block in decode_blocks(path, sample_rate):
        parts.append(block[max(0, first - reached) : None if last is None else max(0, last - reached)])
        reached += len(block)
        if last is not None and reached >= last:
            break
    waveform = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(waveform):
        raise AudioError(path, f"it has no sound from {start_s} s on; it is {reached / sample_rate:.2f} s long")
    return waveform
