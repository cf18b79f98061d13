"""Pairs of clean and noisy crops: the same place, the right loudness, and draws that depend on nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from mmret.data.log_mel_crops import LogMelCrops, mix_background
from mmret.data.log_mel_folder import LogMelMap
from mmret.data.log_mel_pairs import Background, PairedCrops, RepeatedLogMels, WeightedSamples
from mmret.errors import DataLayoutError
from mmret.training import sample_generator

FRAMES = 12
MEAN, STD = -7.0, 4.0


def counting(count: int, frames: int = 40, *, level: float = 0.0) -> LogMelMap:
    """Log-mels that count their frames; their number stands in the band 0."""
    array = np.tile(np.arange(frames, dtype=np.float32), (count, 80, 1)) / 10 + level
    array[:, 0] = np.arange(count)[:, None]
    return LogMelMap(array, [f"{number}.npy" for number in range(count)])


def crops_of(count: int = 4) -> LogMelCrops:
    return LogMelCrops(counting(count), FRAMES, (MEAN, STD), sample_generator)


def raw(batch: torch.Tensor) -> np.ndarray:
    """Crops (batch, mels, frames) before they were normalised."""
    return batch[:, 0].numpy() * STD + MEAN


def noises_of(batch: dict[str, torch.Tensor]) -> list[int]:
    """Which noise each sample got, where noise is all there is: band 0 names it."""
    return np.rint(batch["log_mel"][:, 0, 0, 0].numpy() * STD).astype(int).tolist()


def test_without_background_both_networks_hear_the_same_crop():
    batch = PairedCrops(crops_of()).batch([0, 2], epoch=1, seed=3)
    assert torch.equal(batch["log_mel"], batch["teacher_log_mel"])
    torch.testing.assert_close(batch["log_mel"], crops_of().batch([0, 2], epoch=1, seed=3)["log_mel"])


def test_the_mixture_is_of_the_crop_that_the_teacher_hears():
    pairs = PairedCrops(crops_of(), background=Background(counting(1, FRAMES), 2.0, 0.3))
    batch = pairs.batch([3], epoch=0, seed=0)
    clean, noise = raw(batch["teacher_log_mel"])[0] - MEAN, counting(1, FRAMES)[0] - 2.0
    expected = (mix_background(clean.astype(np.float32), noise.astype(np.float32), 0.3)) / STD
    np.testing.assert_allclose(batch["log_mel"][0, 0], expected, rtol=1e-4, atol=1e-5)


def test_batches_depend_on_seed_epoch_and_samples_alone():
    def pairs() -> PairedCrops:
        return PairedCrops(crops_of(), background=Background(counting(3, 60), 0.0, 0.5))

    whole = pairs().batch([0, 1, 2, 3], epoch=2, seed=7)
    later = pairs()
    later.batch([2], epoch=0, seed=1)
    for name, tensor in later.batch([3, 1], epoch=2, seed=7).items():
        assert torch.equal(tensor, whole[name][[3, 1]])


def test_every_noise_is_used_before_one_comes_again():
    pairs = PairedCrops(crops_of(9), background=Background(counting(3, FRAMES), 0.0, 1.0))
    epochs = [noises_of(pairs.batch(range(9), epoch, seed=0)) for epoch in range(6)]
    assert all(Counter(noises) == {0: 3, 1: 3, 2: 3} for noises in epochs)
    assert len({tuple(noises) for noises in epochs}) > 1
    assert any(noises[:3] != noises[3:6] for noises in epochs)


def test_short_noise_is_repeated_and_never_padded():
    pairs = PairedCrops(crops_of(), background=Background(counting(1, 5, level=3.0), 0.0, 1.0))
    frames = pairs.batch([0], 0, 0)["log_mel"][0, 0, 1].numpy() * STD
    assert set(np.round((frames - 3.0) * 10).astype(int)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(ratio: float):
    with pytest.raises(DataLayoutError, match="share from 0"):
        Background(counting(1), 0.0, ratio)


def test_an_unknown_order_is_refused():
    with pytest.raises(DataLayoutError, match="use one of mixed, clean"):
        PairedCrops(crops_of(), online="noisy")  # type: ignore[arg-type]


def test_an_empty_background_is_refused():
    with pytest.raises(DataLayoutError, match="empty"):
        Background(LogMelMap(np.zeros((0, 80, 4)), []), 0.0, 0.3)


def test_a_long_list_stays_as_it_is():
    assert RepeatedLogMels(counting(5), 3).names == counting(5).names


class Numbers:
    """Targets that say of which sample and start they are."""

    dim = 2

    def of(self, index: int, start: int, frames: int) -> np.ndarray:
        return np.array([index, start])


def test_targets_are_of_the_same_sample_and_start():
    batch = PairedCrops(crops_of(), targets=Numbers()).batch([1, 3], epoch=5, seed=0)
    starts = np.rint(raw(batch["log_mel"])[:, 1, 0] * 10)
    assert batch["offline_target"].tolist() == [[1.0, starts[0]], [3.0, starts[1]]]


def test_samples_of_more_weight_come_more_often_and_anew_in_every_epoch():
    weights = np.array([1.0, 1.0, 1.0, 7.0])
    data = WeightedSamples(PairedCrops(crops_of(), targets=Numbers()), weights, sample_generator)
    drawn = [data.batch(range(4), epoch, 0)["offline_target"][:, 0].int().tolist() for epoch in range(100)]
    counts = Counter(sample for epoch in drawn for sample in epoch)
    assert 0.6 < counts[3] / 400 < 0.8
    assert len({tuple(epoch) for epoch in drawn}) > 10


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, 1.0, 0.0, 1.0]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]):
    with pytest.raises(DataLayoutError, match="as many weights above 0"):
        WeightedSamples(PairedCrops(crops_of()), np.array(weights), sample_generator)
