"""Augmentation for fine-tuning, as M2D's evaluation uses it (EVAR): mixup, SpecAugment, random resize crop.

What is drawn is drawn apart from what is done with it: with given draws each function gives the reference's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

CANVAS_TIME = 1.5  # the canvas of a random resize crop is that much longer than the spectrogram
RESIZE_SCALE = (0.6, 1.5)


@dataclass(frozen=True)
class Mixup:
    """Share of each sample (batch,) and the sample that fills the rest of it (batch,)."""

    share: Tensor
    partner: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """Mix waveforms, log-mels or one-hot labels (batch, ...): share * own + (1 - share) * partner's."""
        share = self.share.to(values).reshape(-1, *[1] * (values.ndim - 1))
        return share * values + (1 - share) * values[self.partner.to(values.device)]


def draw_mixup(batch: int, alpha: float, generator: np.random.Generator) -> Mixup:
    """Shares from Beta(alpha, alpha), one a sample, and a random permutation."""
    share = generator.beta(alpha, alpha, batch).astype(np.float32)
    return Mixup(torch.from_numpy(share), torch.from_numpy(generator.permutation(batch)))


def mask_band(log_mel: Tensor, *, axis: int, largest: int, draws: tuple[float, float]) -> Tensor:
    """Log-mel (batch, 1, mels, frames) with one band of an axis at 0, which is the mean of a normalised one.

    The band is the same for the whole batch: draws (u1, u2) in [0, 1) give the width u1 * largest and the start
    u2 * (size - u1 * largest), both truncated.
    """
    size = log_mel.shape[axis]
    width = draws[0] * largest
    start = int(draws[1] * (size - width))
    place = torch.arange(size, device=log_mel.device)
    hidden = (place >= start) & (place < start + int(width))
    shape = [1] * log_mel.ndim
    shape[axis] = size
    return log_mel.masked_fill(hidden.reshape(shape), 0.0)


def spec_augment(log_mel: Tensor, freq_mask: int, time_mask: int, draws: NDArray[np.float64]) -> Tensor:
    """SpecAugment of a log-mel (batch, 1, mels, frames) by four draws in [0, 1).

    One band of up to `freq_mask` mels and one of up to `time_mask` frames become 0.
    """
    freq_width, freq_start, time_width, time_start = (float(draw) for draw in draws)
    masked = mask_band(log_mel, axis=-2, largest=freq_mask, draws=(freq_width, freq_start))
    return mask_band(masked, axis=-1, largest=time_mask, draws=(time_width, time_start))


@dataclass(frozen=True)
class Window:
    """Part of the canvas that becomes the whole spectrogram: first mel and frame, number of mels and frames."""

    mel: int
    frame: int
    mels: int
    frames: int


def draw_window(mels: int, frames: int, generator: np.random.Generator) -> Window:
    """A window between 0.6 and 1.5 times the spectrogram's sides, within the canvas, at a random place."""
    canvas = int(CANVAS_TIME * frames)
    tall = int(np.clip(int(generator.uniform(*RESIZE_SCALE) * mels), 1, mels))
    wide = int(np.clip(int(generator.uniform(*RESIZE_SCALE) * frames), 1, canvas))
    mel = int(generator.integers(0, mels - tall, endpoint=True))
    frame = int(generator.integers(0, canvas - wide, endpoint=True))
    return Window(mel, frame, tall, wide)


def resize_crop(log_mel: Tensor, window: Window) -> Tensor:
    """Stretch a window of one spectrogram (1, mels, frames), centred in time on a canvas of zeros, to its size."""
    mels, frames = log_mel.shape[-2:]
    canvas = int(CANVAS_TIME * frames)
    before = (canvas - frames) // 2
    padded = functional.pad(log_mel, (before, canvas - frames - before))
    part = padded[:, window.mel : window.mel + window.mels, window.frame : window.frame + window.frames]
    return functional.interpolate(part[None], (mels, frames), mode="bicubic", align_corners=True)[0]
