"""Sounds and files that the tests of decoding share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

# name, libsndfile's format and subtype, sampling rate
FORMATS = [
    ("pcm16.wav", "WAV", "PCM_16", 44_100),
    ("pcm24.wav", "WAV", "PCM_24", 44_100),
    ("float.wav", "WAV", "FLOAT", 44_100),
    ("ulaw.wav", "WAV", "ULAW", 8_000),
    ("extensible.wav", "WAVEX", "PCM_16", 44_100),
    ("pcm16.aiff", "AIFF", "PCM_16", 22_050),
    ("pcm24.aif", "AIFF", "PCM_24", 44_100),
    ("pcm16.au", "AU", "PCM_16", 44_100),
    ("pcm16.caf", "CAF", "PCM_16", 44_100),
    ("pcm16.w64", "W64", "PCM_16", 44_100),
    ("pcm16.rf64", "RF64", "PCM_16", 44_100),
    ("pcm16.flac", "FLAC", "PCM_16", 44_100),
    ("vorbis.ogg", "OGG", "VORBIS", 44_100),
    ("opus.opus", "OGG", "OPUS", 48_000),
    ("layer3.mp3", "MP3", "MPEG_LAYER_III", 44_100),
]
LOSSLESS = {"PCM_16": 2**-15, "PCM_24": 2**-23, "FLOAT": 0.0}


def wave(seconds: float, sample_rate: int, channels: int = 1, *, seed: int = 0) -> NDArray[np.float32]:
    """A chord in a little noise, another note in each channel, (time, channels)."""
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal((len(time_s), channels))
    notes = [np.sin(2 * np.pi * 330 * (channel + 1) * time_s) for channel in range(channels)]
    return (0.3 * np.stack(notes, axis=1) + 0.01 * noise).astype(np.float32)


def write(path: Path, samples: NDArray[np.float32], sample_rate: int, file_format: str, subtype: str) -> Path:
    """A file by way of libsndfile."""
    soundfile.write(path, samples, sample_rate, format=file_format, subtype=subtype)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
