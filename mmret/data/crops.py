"""Parts of a fixed length out of log-mels and waveforms, with what is drawn apart from what is done."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = TypeVar("Floats", bound=NDArray[np.floating])


def draw_start(available: int, length: int, generator: np.random.Generator) -> int:
    """Start of a crop, uniform in [0, available - length): the reference leaves the last start out."""
    return int(generator.integers(0, available - length)) if available > length else 0


def crop_or_pad(values: Floats, length: int, start: int = 0) -> Floats:
    """(..., time) -> (..., length) from `start`; what is too short gets zeros at its end, as the reference does.

    Zero is silence in a waveform, but loud in a log-mel that is not normalised yet: prefer recordings that are long
    enough.
    """
    missing = length - values.shape[-1]
    if missing > 0:
        return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])  # type: ignore[return-value]
    return values[..., start : start + length]  # type: ignore[return-value]


def random_crop(values: Floats, length: int, generator: np.random.Generator) -> Floats:
    """(..., time) -> (..., length) from a random start."""
    return crop_or_pad(values, length, draw_start(values.shape[-1], length, generator))
