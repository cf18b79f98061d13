"""The one front end: log-mel spectrograms equal to nnAudio's as M2D uses them (M2D, section "input").

Numpy on the light path; mmret.audio.logmel_torch gives the same numbers with gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

try:  # four times faster than numpy's transform on frames of 400 samples
    import ducc0
except ImportError:
    ducc0: ModuleType | None = None  # type: ignore[no-redef]

FLOAT32_EPS = 1.1920929e-07
_GROUPS = 6  # consecutive mel bands share a block of bins: four times fewer products than the dense matrix
# A block stays in the processor's cache, and its arrays are too small to be fetched from the system each time: a whole
# clip at once takes three times as long. Frames of a block share nothing but the padding.
_BLOCK_FRAMES = 256


@dataclass(frozen=True)
class LogMelConfig:
    """Parameters of the front end; frequencies in hertz, lengths in samples."""

    sample_rate: int = 16_000
    n_fft: int = 400
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 80
    f_min: float = 50.0
    f_max: float = 8_000.0
    log_eps: float = FLOAT32_EPS

    @classmethod
    def for_rate(cls, sample_rate: int) -> LogMelConfig:
        """M2D's parameters at 16 or 32 kHz: windows of 25 ms every 10 ms, up to half the rate.

        >>> LogMelConfig.for_rate(32_000).n_fft
        800
        """
        if sample_rate not in (16_000, 32_000):
            raise ValueError(f"M2D hears 16000 or 32000 Hz, not {sample_rate}")
        window = sample_rate // 40
        return cls(sample_rate, window, window, sample_rate // 100, f_max=sample_rate / 2)


def mel_filterbank(config: LogMelConfig) -> NDArray[np.float32]:
    """Slaney's mel triangles with area normalisation, (n_mels, n_fft // 2 + 1), as librosa.filters.mel makes them."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(config.f_min), _hz_to_mel(config.f_max), config.n_mels + 2))
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    widths = np.diff(edges)
    ramps = np.subtract.outer(edges, bins)
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    area = (2.0 / (edges[2:] - edges[:-2]))[:, None]
    scaled: NDArray[np.float32] = (weights * area).astype(np.float32)
    return scaled


# Slaney's scale: linear up to 1 kHz (15 mels), logarithmic above.
_LINEAR_HZ = 200.0 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = _LINEAR_HZ * mels
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_HZ / _LINEAR_HZ))
    return np.where(mels >= _BREAK_HZ / _LINEAR_HZ, logarithmic, linear)


class LogMel:
    """Natural-log mel power of waveforms, not normalised.

    >>> LogMel(LogMelConfig())(np.zeros(16_000, np.float32)).shape
    (80, 101)
    """

    def __init__(self, config: LogMelConfig) -> None:
        self.config = config
        window = np.zeros(config.n_fft)
        left = (config.n_fft - config.win_length) // 2
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_length) / config.win_length)
        window[left : left + config.win_length] = hann
        self._window = window.astype(np.float32)
        self._bands = _banded(mel_filterbank(config))

    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveform (time,) or (batch, time) -> log-mel (mels, frames) or (batch, mels, frames), float32."""
        if waveform.ndim == 2:
            return np.stack([self(row) for row in waveform])
        padded = self._padded(np.asarray(waveform, np.float32))
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.config.n_fft)[:: self.config.hop_length]
        out = np.empty((len(frames), self.config.n_mels), np.float32)
        for start in range(0, len(frames), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            self._mel_power(frames[block] * self._window, out[block])
        log_mel = np.ascontiguousarray(out.T)
        log_mel += np.float32(self.config.log_eps)
        return np.log(log_mel, out=log_mel)

    def _padded(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Half a window of reflection on both sides; a wave too short to be reflected gets zeros at its end first."""
        half = self.config.n_fft // 2
        wave = waveform if len(waveform) > half else np.pad(waveform, (0, half + 1 - len(waveform)))
        return np.concatenate([wave[half:0:-1], wave, wave[-2 : -half - 2 : -1]])

    def _mel_power(self, frames: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        magnitude = np.abs(_rfft(frames))
        magnitude *= magnitude
        for bands, bins, weights in self._bands:
            np.matmul(magnitude[:, bins], weights, out=out[:, bands])


def _rfft(frames: NDArray[np.float32]) -> NDArray[np.complex64]:
    if ducc0 is not None:
        return ducc0.fft.r2c(frames, axes=[1], forward=True, inorm=0, nthreads=1)  # type: ignore[no-any-return]
    return np.fft.rfft(frames)  # type: ignore[return-value]  # numpy keeps float32; its stubs do not say so


def _banded(mel: NDArray[np.float32]) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """Split the mel matrix into groups of bands, each with the bins that it needs and their weights (bins, bands)."""
    groups = []
    for rows in np.array_split(np.arange(len(mel)), min(_GROUPS, len(mel))):
        used = np.flatnonzero(mel[rows].any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        bands = slice(int(rows[0]), int(rows[-1]) + 1)
        groups.append((bands, bins, np.ascontiguousarray(mel[bands, bins].T)))
    return groups
