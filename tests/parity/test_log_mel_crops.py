"""Crops, padding, repetition, statistics and background noise against noise_mix_and_crop*.npz."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mmret.data.crops import crop_or_pad
from mmret.data.log_mel_crops import EPS, LogMelCrops, mean_and_std, mix_background, repeat_to
from mmret.data.log_mel_folder import LogMelMap
from mmret.data.log_mel_pairs import Background, PairedCrops, RepeatedLogMels
from mmret.training import sample_generator
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


@pytest.mark.parametrize("online", ["mixed", "clean"])
def test_a_batch_of_pairs_is_that_pair_in_the_order_that_is_asked_for(reference: Any, online: str) -> None:
    arrays, config = reference
    mean, std, noise_mean = arrays["pair_stats"]
    frames = config["crop_frames"]
    crops = LogMelCrops(LogMelMap(arrays["pair_clean_raw"], ["clean"]), frames, (mean, std), sample_generator)
    noise = Background(LogMelMap(arrays["pair_noise_raw"], ["noise"]), noise_mean, config["pair_noise_ratio"])
    batch = PairedCrops(crops, background=noise, online=online).batch([0], epoch=0, seed=0)
    heard, other = ("pair_mixed", "pair_clean") if online == "mixed" else ("pair_clean", "pair_mixed")
    np.testing.assert_allclose(batch["log_mel"][0], arrays[heard], **TOLERANCE)
    np.testing.assert_allclose(batch["teacher_log_mel"][0], arrays[other], **TOLERANCE)


def test_a_short_list_is_repeated_to_exactly_that_many(reference: Any) -> None:
    arrays, _ = reference
    expected = [str(name) for name in arrays["inflated"]]
    log_mels = LogMelMap(arrays["stats_in"][:3], list(dict.fromkeys(expected)))
    repeated = RepeatedLogMels(log_mels, len(expected))
    assert repeated.names == expected
    np.testing.assert_array_equal(repeated[len(expected) - 1], arrays["stats_in"][1])


def test_statistics_over_all_values(reference: Any) -> None:
    arrays, _ = reference
    np.testing.assert_allclose(mean_and_std(arrays["stats_in"]), arrays["stats_out"], **TOLERANCE)
