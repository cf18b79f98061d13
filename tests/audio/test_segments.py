"""Windows cover a recording of any length, and are the same ones however its samples arrive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmret.audio.segments import WindowConfig, iter_segments, segment_bounds

RATE = 10  # samples a second: windows of a few samples


@st.composite
def lengths(draw: st.DrawFn) -> tuple[int, int, int]:
    """Samples of a recording, of a window and of a hop."""
    window = draw(st.integers(1, 50))
    return draw(st.integers(0, 300)), window, draw(st.integers(1, window))


@st.composite
def recordings_in_blocks(draw: st.DrawFn) -> tuple[list[np.ndarray], WindowConfig]:
    """Numbered samples split anywhere, into empty blocks too, and windows."""
    samples, window, hop = draw(lengths())
    cuts = sorted(draw(st.lists(st.integers(0, samples), max_size=10)))
    return np.split(np.arange(samples, dtype=np.float32), cuts), WindowConfig(window / RATE, hop / RATE)


@given(lengths())
def test_windows_cover_every_sample_and_end_with_the_recording(sizes: tuple[int, int, int]) -> None:
    samples, window, hop = sizes
    bounds = segment_bounds(samples, window, hop)
    covered = np.zeros(samples, bool)
    for start, stop in bounds:
        assert stop - start == min(window, samples)
        covered[start:stop] = True
    assert covered.all()
    starts = [start for start, _ in bounds]
    assert starts == sorted(set(starts))
    assert all(start % hop == 0 for start in starts[:-1])
    if bounds:
        assert (bounds[0][0], bounds[-1][1]) == (0, samples)


@given(recordings_in_blocks())
def test_blocks_of_any_size_give_the_windows_of_the_whole(recording: tuple[list[np.ndarray], WindowConfig]) -> None:
    blocks, config = recording
    whole = np.concatenate(blocks)
    window, hop = round(config.window_s * RATE), round(config.hop_s * RATE)
    segments = list(iter_segments(blocks, RATE, config))
    bounds = segment_bounds(len(whole), window, hop)
    assert [(segment.start_s, segment.stop_s) for segment in segments] == [
        (start / RATE, stop / RATE) for start, stop in bounds
    ]
    for segment, (start, stop) in zip(segments, bounds, strict=True):
        assert segment.waveform.tolist() == whole[start:stop].tolist()


def test_a_segment_keeps_its_samples_when_the_block_is_used_again() -> None:
    buffer = np.zeros(20, np.float32)

    def blocks() -> object:
        for value in (1, 2, 3):
            buffer[:] = value
            yield buffer

    segments = list(iter_segments(blocks(), RATE, WindowConfig(2.0, 2.0)))
    assert [segment.waveform.tolist() for segment in segments] == [[value] * 20 for value in (1.0, 2.0, 3.0)]


def test_no_more_than_a_window_and_a_block_are_held() -> None:
    taken = 0

    def blocks() -> object:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield np.ones(10, np.float32)

    windows = iter_segments(blocks(), RATE, WindowConfig(5.0, 2.5))
    assert len(next(windows).waveform) == 50
    assert taken == 5


@pytest.mark.parametrize(("window_s", "hop_s"), [(1, 0), (1, 2), (0, 0), (-1, -1), (1, float("nan"))])
def test_windows_that_would_leave_gaps_are_refused(window_s: float, hop_s: float) -> None:
    with pytest.raises(ValueError, match="need 0 < hop_s <= window_s"):
        WindowConfig(window_s, hop_s)
