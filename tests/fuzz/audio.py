"""Recordings of every format that libsndfile writes, mutated and decoded."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from mmret.audio.decode import MAX_LEVEL, DecodeLimits, decode
from mmret.errors import AudioError
from tests.audio.sounds import wave
from tests.fuzz.mutations import Generator, mutated
from tests.fuzz.settled import ogg_sealed, settled

RATE = 16_000
# An hour is decoded within the limits of a case; a day of silence in a few bytes is refused by the same code.
LIMITS = DecodeLimits(max_seconds=3_600)
SUFFIX = ".wav"  # the content decides, whatever the name


class AudioTarget:
    """Decoding: samples that are finite and within bounds, or an AudioError that names the file."""

    memory_bytes = 400 * 2**20
    cpu_s = 20

    def __init__(self, place: Path) -> None:
        self._seeds = sorted(seeds().items())
        self._path = place / f"case{SUFFIX}"

    def prepare(self, number: int, generator: Generator) -> str:
        """Write the file of a case; what it is."""
        name, whole = self._seeds[number % len(self._seeds)]
        done, data = mutated(whole, generator)
        if generator.integers(0, 10) == 0:  # the head of one format before the body of another
            other, body = self._seeds[int(generator.integers(0, len(self._seeds)))]
            data, done = data[: int(generator.integers(1, 300))] + body, f"{done}+body of {other}"
        if name.startswith("OGG") and generator.integers(0, 2):
            data, done = ogg_sealed(data), f"{done}+sealed"
        self._path.write_bytes(data)
        return f"{name}: {done}"

    def run(self) -> str:
        """Decode it; how that ended."""
        try:
            samples = decode(self._path, RATE, limits=LIMITS)
        except AudioError as error:
            assert error.path == self._path, error
            return "refused"
        assert samples.dtype == np.float32
        assert len(samples)
        assert np.abs(samples).max() <= 2 * MAX_LEVEL, "not finite or out of bounds"  # resampling overshoots
        return "read"


def seeds() -> dict[str, bytes]:
    """A short sound in every format and subtype that libsndfile writes."""
    place = Path(tempfile.mkdtemp(prefix="mmret-seeds-"))
    written = {}
    for file_format in soundfile.available_formats():
        if file_format in ("RAW", "SD2"):  # nothing in the file itself tells what it is
            continue
        for subtype in soundfile.available_subtypes(file_format):
            path = place / f"{file_format}.{subtype}"
            for rate, channels in ((44_100, 2), (16_000, 1), (8_000, 1)):
                with suppress(soundfile.LibsndfileError, TypeError, ValueError):
                    soundfile.write(path, wave(0.12, rate, channels), rate, format=file_format, subtype=subtype)
                    written[path.name] = settled(path.read_bytes())
                    break
    shutil.rmtree(place)
    return written
