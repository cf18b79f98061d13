"""Parts of recordings by seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmret.audio.decode import decode
from mmret.audio.excerpt import excerpt
from mmret.errors import AudioError

RATE = 16_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(12 * RATE), RATE)
    return path


@pytest.mark.parametrize(("start_s", "stop_s"), [(0.0, 1.0), (3.25, 9.5), (5.0, None), (11.5, 40.0)])
def test_a_part_is_what_the_whole_holds_there(recording: Path, start_s: float, stop_s: float | None) -> None:
    stop = None if stop_s is None else round(stop_s * RATE)
    np.testing.assert_array_equal(
        excerpt(recording, RATE, start_s, stop_s), decode(recording, RATE)[round(start_s * RATE) : stop]
    )


def test_a_part_behind_the_end_says_how_long_the_recording_is(recording: Path) -> None:
    with pytest.raises(AudioError, match=r"no sound from 13\.0 s on; it is 12\.00 s long"):
        excerpt(recording, RATE, 13.0, None)
