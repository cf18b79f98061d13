"""Heart cycles found in made-up heart sounds whose rhythm is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmret.audio.heart_cycles import FRAMES_PER_SECOND, HeartState, autocorrelation, find_cycles, heart_log_mel
from tests.heart_sounds import heart

NEXT = {HeartState.S1: HeartState.SYSTOLE, HeartState.SYSTOLE: HeartState.S2, HeartState.S2: HeartState.DIASTOLE}


@pytest.mark.parametrize(("period_s", "systole_s"), [(0.6, 0.28), (0.8, 0.33), (1.1, 0.37)])
@pytest.mark.parametrize("murmur", [0.0, 0.2])
def test_rhythm_is_found_with_and_without_a_murmur(period_s: float, systole_s: float, murmur: float) -> None:
    wave = heart(10, period_s=period_s, systole_s=systole_s, murmur=murmur)
    cycles = find_cycles(heart_log_mel(wave))
    assert cycles.period_s == pytest.approx(period_s, abs=0.02)
    assert cycles.systole_s == pytest.approx(systole_s, abs=0.04)
    assert cycles.regularity > 0.5


def test_states_lie_where_the_sounds_are() -> None:
    cycles = find_cycles(heart_log_mel(heart(10, period_s=0.8, systole_s=0.3)))
    for state, start_s in ((HeartState.S1, 0.0), (HeartState.S2, 0.3)):
        spans = cycles.spans(state)
        assert len(spans) >= 10
        middles = np.array([(start + stop) / 2 / FRAMES_PER_SECOND for start, stop in spans]) % 0.8
        assert np.abs(middles - (start_s + 0.045)).max() < 0.04


def test_a_recording_may_begin_in_any_state() -> None:
    wave = heart(10, period_s=0.8, systole_s=0.3)[900:]  # in diastole
    assert find_cycles(heart_log_mel(wave)).states[0] == HeartState.DIASTOLE


def test_motion_below_20_hz_does_not_matter() -> None:
    wave = heart(8)
    moved = wave + 5 * np.sin(2 * np.pi * 3 * np.arange(len(wave)) / 2000).astype(np.float32)
    np.testing.assert_array_equal(find_cycles(heart_log_mel(moved)).states, find_cycles(heart_log_mel(wave)).states)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(4000, 9000), silent=st.booleans())
def test_every_frame_gets_a_state_and_states_follow_each_other(seed: int, samples: int, silent: bool) -> None:
    wave = np.zeros(samples) if silent else np.random.default_rng(seed).standard_normal(samples)
    log_mel = heart_log_mel(wave.astype(np.float32))
    cycles = find_cycles(log_mel)
    assert cycles.states.shape == (log_mel.shape[1],)
    changes = [(a, b) for a, b in zip(cycles.states[:-1], cycles.states[1:], strict=True) if a != b]
    assert all(b == NEXT.get(HeartState(a), HeartState.S1) for a, b in changes)
    assert 0.4 <= cycles.period_s <= 1.4


def test_less_than_two_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 s"):
        heart_log_mel(np.zeros(3999, np.float32))


def test_autocorrelation_of_a_sine_is_a_cosine() -> None:
    sine = np.sin(2 * np.pi * np.arange(1000) / 50)
    np.testing.assert_allclose(autocorrelation(sine, 100), np.cos(2 * np.pi * np.arange(101) / 50), atol=0.05)
