"""A tiny deterministic encoder: the shape of a spectrum is the vector, a frequency in Hz is the word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from mmret.audio.decode import decode
from mmret.audio.segments import WindowConfig, iter_segments
from mmret.encoder.encoder import EncodedWindow

SAMPLE_RATE = 8000
BANDS = 24
EDGES_HZ = np.geomspace(60, SAMPLE_RATE / 2, BANDS + 1)


class FakeEncoder:
    """Spectral bands as unit vectors (dim,), one waveform at a time."""

    name = "fake"
    runtime = "none"
    dim = scene_dim = BANDS
    has_scenes = False
    sample_rate = SAMPLE_RATE

    def __init__(self, window_s: float = 1.0, hop_s: float = 0.5, fingerprint: str = "f" * 64) -> None:
        self.windows = WindowConfig(window_s, hop_s)
        self.fingerprint = fingerprint
        self.encoded = 0

    def open_audio(self) -> None:
        """Be ready always."""

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The band of the frequency that a text names; another text is its length's band."""
        vectors = np.zeros((len(texts), BANDS), np.float32)
        for row, text in enumerate(texts):
            frequency_hz = float(text.split()[0]) if text and text.split()[0].isdigit() else 60.0 + len(text)
            vectors[row, np.searchsorted(EDGES_HZ, frequency_hz) - 1] = 1
        return vectors

    def knows(self, text: str) -> bool:
        """Whether a text is no cat in Chinese."""
        return text != "猫"

    def encode_waveforms(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Share of each band in the spectrum of each waveform (time,)."""
        self.encoded += len(waveforms)
        return np.array([_bands(waveform) for waveform in waveforms], np.float32).reshape(len(waveforms), BANDS)

    def encode_audio(self, clips: Sequence[Any]) -> NDArray[np.float32]:
        """Mean over the windows of each clip."""
        means = []
        for clip in clips:
            waveform = decode(clip, SAMPLE_RATE) if isinstance(clip, (str, PathLike)) else clip
            segments = iter_segments([waveform], SAMPLE_RATE, self.windows)
            mean = np.mean([_bands(segment.waveform) for segment in segments], axis=0)
            means.append(mean / np.linalg.norm(mean))
        return np.array(means, np.float32).reshape(len(clips), BANDS)

    def encode_scenes(self, recordings: Sequence[Any]) -> NDArray[np.float32]:
        """As encode_audio: this encoder has no other features."""
        return self.encode_audio(recordings)

    def encode_timestamps(self, recording: Any) -> Iterator[EncodedWindow]:
        """Yield windows with their vectors."""
        for segment in iter_segments([decode(recording, SAMPLE_RATE)], SAMPLE_RATE, self.windows):
            yield EncodedWindow(segment.start_s, segment.stop_s, self.encode_waveforms([segment.waveform])[0])


def _bands(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    spectrum = np.abs(np.fft.rfft(waveform, max(len(waveform), SAMPLE_RATE)))
    frequencies_hz = np.fft.rfftfreq(max(len(waveform), SAMPLE_RATE), 1 / SAMPLE_RATE)
    energy, _ = np.histogram(frequencies_hz, EDGES_HZ, weights=spectrum**2)
    bands = np.sqrt(energy) + 1e-6
    return bands / np.linalg.norm(bands)


def tone(frequency_hz: float, seconds: float, *, seed: int = 0) -> NDArray[np.float32]:
    """A sine (time,) with a little noise, so that no two seeds have the same bytes."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(len(time_s))
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s) + 0.001 * noise).astype(np.float32)


def write_tone(path: Path, frequency_hz: float, seconds: float = 2.0, *, seed: int = 0) -> Path:
    """A tone in a 16-bit WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(frequency_hz, seconds, seed=seed), SAMPLE_RATE)
    return path
