"""The torch front end gives numpy's numbers, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.audio.logmel_torch import LogMelTorch
from tests.audio.sounds import wave

CONFIGS = [LogMelConfig.for_rate(16_000), LogMelConfig.for_rate(32_000), LogMelConfig(n_fft=512, win_length=400)]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("samples", [1, 150, 201, 4_037, 16_000])
def test_torch_equals_numpy(config: LogMelConfig, samples: int) -> None:
    waves = wave(1.0, config.sample_rate, 2).T[:, :samples].copy()
    expected = LogMel(config)(waves)
    actual = LogMelTorch(config)(torch.from_numpy(waves)).numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-4)  # two float32 transforms


def test_silence_is_the_logarithm_of_epsilon() -> None:
    silence = LogMelTorch(LogMelConfig())(torch.zeros(1, 16_000))
    np.testing.assert_allclose(silence.numpy(), np.log(LogMelConfig().log_eps), rtol=1e-6)


def test_gradients_reach_the_waveform_and_stay_finite() -> None:
    waves = torch.from_numpy(wave(0.2, 16_000, 2).T.copy())
    waves[1] = 0  # digital silence
    waves.requires_grad_()
    LogMelTorch(LogMelConfig())(waves).sum().backward()
    assert waves.grad is not None
    assert torch.isfinite(waves.grad).all()
    assert waves.grad[0].abs().max() > 0


def test_the_module_adds_nothing_to_a_checkpoint() -> None:
    assert LogMelTorch(LogMelConfig()).state_dict() == {}
