"""Sets of features of the heart study, by name: of the log-mel, of the heart's cycles, and of encoders.

An encoder hears a recording as it is, four times faster (20-1000 Hz then lie where encoders of general sound hear
well, and 10 s fit into one window), or four times faster with the long-term spectrum made flat, which takes the filter
of the device away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

import mmret
from mmret.audio.decode import decode
from mmret.audio.heart_cycles import SAMPLE_RATE
from mmret.audio.heart_features import HEART_FEATURES, heart_features
from mmret.data import HeartClip
from mmret.metrics.result_file import describe_model

Array = NDArray[np.float64]
Samples = NDArray[np.float32]

RMS = 0.1
FASTER = 4
FLAT_OVER_HZ = 40.0
LOWEST_HZ = 20.0
RANDOM = "random M2D"


class HeartFeatures:
    """Features (clips, dim) of recordings by name and seed.

    `encoders` are model folders or names by label; `untrained` is the folder of an M2D whose network is heard with
    random weights, to which alone the seed matters.
    """

    def __init__(self, clips: Sequence[HeartClip], encoders: Mapping[str, str], untrained: str | None) -> None:
        self._clips, self._encoders, self._untrained = clips, encoders, untrained
        self._kept: dict[tuple[str, int], Array] = {}

    @property
    def names(self) -> list[str]:
        """Every set, those of the cycles and log-mels first."""
        encoders = [*self._encoders, *([RANDOM] if self._untrained else [])]
        return [*HEART_FEATURES, *(f"{encoder}, {view}" for encoder in encoders for view in VIEWS)]

    def seed_of(self, name: str, seed: int) -> int:
        """The seed where it matters to a set, else 0."""
        return seed if name.startswith(RANDOM) else 0

    def of(self, name: str, seed: int) -> Array:
        """Features (clips, dim) of one set."""
        key = (name, self.seed_of(name, seed))
        if key not in self._kept:
            self._kept[key] = self._computed(*key).astype(np.float64)
        return self._kept[key]

    def describe(self, name: str) -> dict[str, Any]:
        """What made a set of features: an encoder with its fingerprint, or its name alone."""
        label = name.split(", ", 1)[0]
        encoder = self._encoders.get(label)
        return {"name": name} if encoder is None else describe_model(mmret.Encoder.from_pretrained(encoder))

    def _computed(self, name: str, seed: int) -> Array:
        if name in HEART_FEATURES:
            return self._of_cycles[name]
        label, view = name.split(", ", 1)
        if label == RANDOM:
            encoder = random_encoder(str(self._untrained), seed)
        else:
            encoder = mmret.Encoder.from_pretrained(self._encoders[label])
        return np.asarray(encoder.encode_audio([VIEWS[view](waveform) for waveform in self._waveforms]))

    @cached_property
    def _waveforms(self) -> list[Samples]:
        return [decode(clip.path, SAMPLE_RATE) for clip in self._clips]

    @cached_property
    def _of_cycles(self) -> dict[str, Array]:
        found = [heart_features(waveform) for waveform in self._waveforms]
        return {name: np.stack([one[name] for one in found]) for name in HEART_FEATURES}


def random_encoder(folder: str, seed: int) -> mmret.Encoder:
    """The network of an M2D folder with untrained weights; its normalisation stays."""
    import torch
    from transformers import AutoConfig

    from mmret.models import M2DModel

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as temporary:
        M2DModel(AutoConfig.from_pretrained(folder)).save_pretrained(temporary)
        return mmret.Encoder.from_pretrained(temporary)


def as_it_is(waveform: Samples) -> Samples:
    """Waveform (time,) at 2 kHz -> at 16 kHz."""
    return _at_16_khz(_spectrum(waveform), len(waveform), SAMPLE_RATE)


def faster(waveform: Samples) -> Samples:
    """Waveform (time,) at 2 kHz -> four times faster, at 16 kHz."""
    return _at_16_khz(_spectrum(waveform), len(waveform), FASTER * SAMPLE_RATE)


def faster_and_flat(waveform: Samples) -> Samples:
    """As `faster`, with the power spectrum over the whole recording, smoothed over 40 Hz, divided out."""
    spectrum = _spectrum(waveform)
    bins = max(1, round(FLAT_OVER_HZ / 2 * len(waveform) / SAMPLE_RATE))
    kernel = np.hanning(2 * bins + 1)
    power = np.convolve(np.abs(spectrum) ** 2, kernel / kernel.sum(), "same")
    return _at_16_khz(spectrum / np.sqrt(power + 1e-6 * power.mean()), len(waveform), FASTER * SAMPLE_RATE)


VIEWS: Mapping[str, Callable[[Samples], Samples]] = {
    "as it is": as_it_is,
    "4x faster": faster,
    "4x faster, flat": faster_and_flat,
}


def _spectrum(waveform: Samples) -> NDArray[np.complex128]:
    """Spectrum of a waveform without what lies below 20 Hz."""
    spectrum = np.fft.rfft(waveform - waveform.mean())
    spectrum[np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE) < LOWEST_HZ] = 0
    return spectrum


def _at_16_khz(spectrum: NDArray[np.complex128], samples: int, played_hz: int) -> Samples:
    wave = np.fft.irfft(spectrum, samples)
    level = wave * RMS / max(float(wave.std()), 1e-12)
    return np.clip(soxr.resample(level, played_hz, 16_000), -1, 1).astype(np.float32)
