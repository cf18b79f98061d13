"""Made-up recordings of any length, written block by block: each has other bytes, so that none is skipped as known."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44_100
CLIP_S = 10
_BLOCK = 65_536  # libsndfile's Vorbis encoder overflows the stack on more


def write_sound(path: Path, seconds: int, seed: int = 0) -> Path:
    """A rising tone in faint noise, stereo at 44.1 kHz, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        for number in range(-(-seconds // CLIP_S)):
            part = np.roll(_loop(), 7_919 * (seed + 31 * number), axis=0)[: (seconds - number * CLIP_S) * RATE]
            for start in range(0, len(part), _BLOCK):
                file.write(part[start : start + _BLOCK])
    return path


def write_clips(folder: Path, clips: int, suffix: str = "flac") -> Path:
    """A folder of clips of CLIP_S seconds."""
    for number in range(clips):
        write_sound(folder / f"{number:05}.{suffix}", CLIP_S, seed=number)
    return folder


@cache
def _loop() -> NDArray[np.float32]:
    """CLIP_S seconds (time, 2)."""
    time_s = np.arange(CLIP_S * RATE) / RATE
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((len(time_s), 2))
    tone = np.sin(2 * np.pi * (200 + 150 * time_s) * time_s)
    return (0.3 * tone[:, None] + 0.001 * noise).astype(np.float32)
