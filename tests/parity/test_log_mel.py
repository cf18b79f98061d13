"""Log-mels equal the reference's, by numpy and by torch, with the options of each fixture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmret.audio.logmel import LogMel, LogMelConfig, mel_filterbank
from mmret.audio.logmel_torch import LogMelTorch
from tests.conftest import parity_files

FILES = parity_files("m2d", "logmel_*.npz")
NAMES = [path.stem for path in FILES]
ATOL = 2e-4  # a loud tone amplifies the rounding of float32 transforms

pytestmark = pytest.mark.skipif(not FILES, reason="no reference numbers; set MMRET_PARITY")


def load(path: Path) -> tuple[Any, dict[str, Any], LogMelConfig]:
    """Arrays of a fixture, its options, and these as our configuration."""
    arrays = np.load(path, allow_pickle=False)
    options = json.loads(str(arrays["config"]))
    names = ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "f_min", "f_max", "log_eps")
    return arrays, options, LogMelConfig(**{name: options[name] for name in names})


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_waves_give_the_log_mels_of_the_reference(path: Path) -> None:
    arrays, options, config = load(path)
    mean, deviation = options["norm_stats"]
    for number in range(options["n_waves"]):
        waveform, expected = arrays[f"wave_{number}"], arrays[f"logmel_{number}"]
        by_torch = LogMelTorch(config)(torch.from_numpy(waveform)[None])[0].numpy()
        for actual in (LogMel(config)(waveform), by_torch):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=ATOL)
            np.testing.assert_allclose((actual - mean) / deviation, arrays[f"normalized_{number}"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_mel_matrix_and_the_window_are_the_references(path: Path) -> None:
    arrays, _, config = load(path)
    np.testing.assert_allclose(mel_filterbank(config), arrays["mel_basis"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(LogMelTorch(config).window.numpy(), arrays["window"], rtol=0, atol=1e-7)
