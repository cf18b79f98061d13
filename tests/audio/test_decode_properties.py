"""Whatever a recording's rate, channels and length: decoding it is reading it whole, mixing and resampling."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmret.audio.decode import decode, decode_blocks
from mmret.errors import AudioError
from tests.audio.sounds import FORMATS, LOSSLESS, wave, write

KINDS = st.sampled_from([(name, kind, subtype) for name, kind, subtype, _ in FORMATS if subtype in LOSSLESS])


@settings(max_examples=60, deadline=None)
@given(
    kind=KINDS,
    rate=st.one_of(st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000]), st.integers(1_000, 192_000)),
    channels=st.integers(1, 8),
    frames=st.integers(1, 30_000),
    block=st.integers(500, 70_000),
    target=st.sampled_from([8_000, 16_000, 32_000, 48_000]),
)
def test_decoding_is_reading_mixing_and_resampling(
    kind: tuple[str, str, str], rate: int, channels: int, frames: int, block: int, target: int
) -> None:
    name, file_format, subtype = kind
    assume(file_format != "FLAC" or rate < 2**16 or rate % 10 == 0)  # FLAC has no others
    with tempfile.TemporaryDirectory() as folder, patch("mmret.audio.decode.BLOCK_FRAMES", block):
        path = write(Path(folder) / name, wave(frames / rate, rate, channels), rate, file_format, subtype)
        whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
        mean = whole.mean(axis=1, dtype=np.float32)
        expected = mean if rate == target else soxr.resample(mean, rate, target, "HQ")
        if not len(expected):
            with pytest.raises(AudioError, match="too short"):
                decode(path, target)
            return
        samples = decode(path, target)
        blocks = list(decode_blocks(path, target))
    np.testing.assert_array_equal(np.concatenate(blocks), samples)
    assert (samples.dtype, samples.shape) == (np.float32, expected.shape)
    if channels <= 2:
        np.testing.assert_array_equal(samples, expected)
    else:  # the sum of many channels is rounded in another order
        np.testing.assert_allclose(samples, expected, atol=2e-6)


@settings(max_examples=40, deadline=None)
@given(kind=KINDS, kept=st.floats(0, 0.98), seed=st.integers(0, 100))
def test_a_file_cut_anywhere_is_refused_or_read_to_where_it_ends(
    kind: tuple[str, str, str], kept: float, seed: int
) -> None:
    name, file_format, subtype = kind
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / name, wave(0.5, 16_000, 1, seed=seed), 16_000, file_format, subtype)
        whole = decode(path, 16_000)
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data))])
        try:
            samples = decode(path, 16_000)
        except AudioError as error:
            assert error.path == path
            return
    np.testing.assert_array_equal(samples, whole[: len(samples)])
