"""The front end by its definition; its equality with the reference's numbers is in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.audio import logmel
from mmret.audio.logmel import FLOAT32_EPS, LogMel, LogMelConfig, mel_filterbank
from tests.audio.sounds import wave

RATES = [16_000, 32_000]
CONFIGS = [LogMelConfig.for_rate(rate) for rate in RATES]


def by_definition(waveform: np.ndarray, config: LogMelConfig) -> np.ndarray:
    """Log-mel (mels, frames) in float64, frame by frame."""
    half = config.n_fft // 2
    padded = np.pad(waveform.astype(np.float64), half, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_length) / config.win_length)
    frames = [
        np.abs(np.fft.rfft(padded[start : start + config.n_fft] * hann)) ** 2
        for start in range(0, len(waveform) + 1, config.hop_length)
    ]
    return np.log(mel_filterbank(config).astype(np.float64) @ np.stack(frames, axis=1) + config.log_eps)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("extra", [0, 1, 159])
def test_log_mel_is_the_logarithm_of_mel_power(config: LogMelConfig, extra: int) -> None:
    waveform = wave(0.5, config.sample_rate)[:, 0]
    waveform = np.concatenate([waveform, waveform[:extra]])
    actual = LogMel(config)(waveform)
    assert (actual.shape, actual.dtype) == ((80, 1 + len(waveform) // config.hop_length), np.float32)
    assert actual.flags.c_contiguous
    np.testing.assert_allclose(actual, by_definition(waveform, config), atol=2e-4)  # float32 transforms


@pytest.mark.parametrize("config", CONFIGS)
def test_silence_is_the_logarithm_of_epsilon(config: LogMelConfig) -> None:
    silence = LogMel(config)(np.zeros(config.sample_rate, np.float32))
    np.testing.assert_allclose(silence, np.log(FLOAT32_EPS), rtol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("samples", [0, 1, 2, 100, 200, 201])
def test_a_wave_too_short_to_be_reflected_gets_zeros_at_its_end(config: LogMelConfig, samples: int) -> None:
    waveform = wave(1.0, config.sample_rate)[:samples, 0]
    filled = np.zeros(max(samples, config.n_fft // 2 + 1), np.float32)
    filled[:samples] = waveform
    np.testing.assert_allclose(LogMel(config)(waveform), by_definition(filled, config), atol=2e-4)


def test_a_batch_is_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    extract = LogMel(LogMelConfig())
    rows = wave(0.3, 16_000, 3).T.copy()
    batch = extract(rows)
    assert batch.shape == (3, 80, 31)
    for row, expected in zip(batch, rows, strict=True):
        np.testing.assert_array_equal(row, extract(expected))


def test_blocks_of_frames_share_nothing_but_the_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = wave(1.0, 16_000)[:, 0]
    whole = LogMel(LogMelConfig())(waveform)
    monkeypatch.setattr(logmel, "_BLOCK_FRAMES", 7)
    # ducc0 transforms several frames at a time and the last of a block one by one: float32 steps in another order
    np.testing.assert_allclose(LogMel(LogMelConfig())(waveform), whole, atol=1e-4)


def test_a_waveform_is_left_as_it_was() -> None:
    waveform = wave(0.1, 16_000)[:, 0]
    before = waveform.copy()
    LogMel(LogMelConfig())(waveform)
    LogMel(LogMelConfig())(waveform.astype(np.float64))
    np.testing.assert_array_equal(waveform, before)


def test_a_window_shorter_than_the_transform_lies_in_its_middle() -> None:
    config = LogMelConfig(n_fft=512, win_length=400)
    impulse = np.zeros(1600, np.float32)
    impulse[800] = 1
    loudest = LogMel(config)(impulse).mean(axis=0).argmax()
    assert loudest == 800 // config.hop_length


@pytest.mark.parametrize("accelerated", [True, False])
def test_the_optional_transform_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch, accelerated: bool) -> None:
    fast = pytest.importorskip("ducc0", reason="ducc0 is not installed") if accelerated else None
    monkeypatch.setattr(logmel, "ducc0", fast)
    waveform = wave(0.5, 16_000)[:, 0]
    np.testing.assert_allclose(LogMel(LogMelConfig())(waveform), by_definition(waveform, LogMelConfig()), atol=2e-4)


def test_only_the_rates_that_m2d_hears_have_parameters() -> None:
    assert LogMelConfig.for_rate(16_000) == LogMelConfig()
    assert LogMelConfig.for_rate(32_000) == LogMelConfig(32_000, 800, 800, 320, f_max=16_000)
    with pytest.raises(ValueError, match="M2D hears 16000 or 32000 Hz, not 44100"):
        LogMelConfig.for_rate(44_100)


def test_mel_bands_above_half_the_rate_are_empty_not_wrong() -> None:
    config = LogMelConfig(sample_rate=8_000, n_fft=200, win_length=200, hop_length=80, f_max=8_000)
    log_mel = LogMel(config)(wave(0.2, 8_000)[:, 0])
    assert np.isfinite(log_mel).all()
    np.testing.assert_allclose(log_mel[-1], np.log(FLOAT32_EPS), rtol=1e-6)


@pytest.mark.parametrize("bands", [1, 2, 5, 7])
def test_any_number_of_mel_bands_will_do(bands: int) -> None:
    config = LogMelConfig(n_mels=bands)
    waveform = wave(0.2, config.sample_rate)[:, 0]
    np.testing.assert_allclose(LogMel(config)(waveform), by_definition(waveform, config), atol=1e-3)
