"""Features of heart sounds: what a murmur moves and what a device does not."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.audio.heart_features import BANDS, HEART_FEATURES, heart_features
from tests.heart_sounds import heart

SIZES = {
    "log_mel_statistics": 160,
    "log_mel_contrast": 128,
    "cycle_contrast": 60,
    "cycle_template": 128,
    "rhythm_spectrum": 96,
    "period_profile": 90,
    "whole_cycle": 278,
    "all_contrasts": 502,
}
SYSTOLE_LESS_DIASTOLE = slice(2 * BANDS, 3 * BANDS)


def coloured(wave: np.ndarray) -> np.ndarray:
    """The recording of a device that weakens high notes by 24 dB and is four times as loud."""
    spectrum = np.fft.rfft(wave)
    gain = 4 * 10 ** (-24 / 20 * np.linspace(0, 1, len(spectrum)))
    return np.fft.irfft(spectrum * gain, len(wave)).astype(np.float32)


@pytest.fixture(scope="module")
def healthy() -> dict[str, np.ndarray]:
    return heart_features(heart(8))


def test_every_set_has_its_size_and_finite_numbers(healthy) -> None:
    assert {name: len(values) for name, values in healthy.items()} == SIZES
    assert all(np.isfinite(values).all() for values in healthy.values())


def test_a_murmur_raises_systole_over_diastole_in_every_band(healthy) -> None:
    name = "cycle_contrast"
    ill = heart_features(heart(8, murmur=0.2), [name])[name][SYSTOLE_LESS_DIASTOLE]
    assert (ill - healthy[name][SYSTOLE_LESS_DIASTOLE]).min() > 2.0  # nepers of power


@pytest.mark.parametrize("name", [name for name in HEART_FEATURES if name != "log_mel_statistics"])
def test_a_device_moves_contrasts_less_than_levels(name: str) -> None:
    wave = heart(8, murmur=0.1)
    plain, other = heart_features(wave), heart_features(coloured(wave))

    def moved(which: str) -> float:
        return float(np.abs(other[which] - plain[which]).mean())

    assert moved(name) < 0.15 * moved("log_mel_statistics")


@pytest.mark.parametrize("wave", [np.zeros(4000), np.random.default_rng(0).standard_normal(4000)])
def test_recordings_without_beats_give_finite_numbers(wave: np.ndarray) -> None:
    assert all(np.isfinite(values).all() for values in heart_features(wave.astype(np.float32)).values())
