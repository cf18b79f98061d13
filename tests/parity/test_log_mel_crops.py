"""Crops, padding, repetition, statistics and background noise against noise_mix_and_crop*.npz."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mmret.data.crops import crop_or_pad
from mmret.data.log_mel_crops import EPS, mean_and_std, mix_background, repeat_to
from tests.conftest import parity_files

FIXTURES = parity_files("m2d", "noise_mix_and_crop*.npz")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}

pytestmark = pytest.mark.skipif(not FIXTURES, reason="no noise_mix_and_crop*.npz; set MMRET_PARITY")


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def reference(request: pytest.FixtureRequest) -> Any:
    """Arrays and settings of one fixture."""
    with np.load(request.param) as arrays:
        yield arrays, json.loads(str(arrays["config"]))


def test_crops_at_given_starts(reference: Any) -> None:
    arrays, config = reference
    mean, std = config["norm_stats"]
    for number in range(len(config["lengths"])):
        log_mel, frames = arrays[f"in_{number}"], config["crop_frames"]
        padded = crop_or_pad(log_mel, frames, int(arrays[f"start_{number}_pad"]))
        repeated = crop_or_pad(repeat_to(log_mel, frames), frames, int(arrays[f"start_{number}_repeat"]))
        for name, cropped in (("pad", padded), ("repeat", repeated)):
            np.testing.assert_allclose((cropped - mean) / std, arrays[f"out_{number}_{name}"], **TOLERANCE)


def test_background_is_mixed_in_the_power_domain(reference: Any) -> None:
    arrays, config = reference
    for number, ratio in enumerate(config["alphas"]):
        mixed = mix_background(arrays["clean_lms"], arrays["noise_lms"], ratio)
        np.testing.assert_allclose(mixed, arrays[f"mixed_{number}"], **TOLERANCE)
    silence = np.full_like(arrays["floor_case"], -100.0)
    np.testing.assert_allclose(mix_background(silence, silence, 0.5), np.full_like(silence, np.log(EPS)), **TOLERANCE)


def test_pair_of_clean_and_noisy(reference: Any) -> None:
    arrays, config = reference
    mean, std, noise_mean = arrays["pair_stats"]
    clean, noise = arrays["pair_clean_raw"] - mean, arrays["pair_noise_raw"] - noise_mean
    mixed = mix_background(clean, noise, config["pair_noise_ratio"])
    np.testing.assert_allclose(clean / std, arrays["pair_clean"], **TOLERANCE)
    np.testing.assert_allclose(mixed / std, arrays["pair_mixed"], **TOLERANCE)


def test_statistics_over_all_values(reference: Any) -> None:
    arrays, _ = reference
    np.testing.assert_allclose(mean_and_std(arrays["stats_in"]), arrays["stats_out"], **TOLERANCE)
