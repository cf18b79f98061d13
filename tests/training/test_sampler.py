"""Order and draws are functions of seed and position."""

from __future__ import annotations

import numpy as np
import torch

from mmret.training import permutation, sample_generator
from mmret.training.sampler import BatchOrder, seeded_torch, step_seed


def test_epoch_visits_each_sample_at_most_once_over_all_ranks() -> None:
    orders = [BatchOrder(103, 4, accumulation=2, world_size=3, rank=rank, seed=1) for rank in range(3)]
    seen = [index for order in orders for step in range(4) for micro in (0, 1) for index in order.indices(step, micro)]
    assert len(seen) == len(set(seen)) == 96
    assert orders[0].epoch(3) == 0 and orders[0].epoch(4) == 1


def test_processes_share_out_the_batch_of_one_process() -> None:
    whole = BatchOrder(40, 8, seed=5).indices(2, 0)
    halves = [BatchOrder(40, 4, world_size=2, rank=rank, seed=5).indices(2, 0) for rank in (0, 1)]
    assert halves[0] + halves[1] == whole


def test_permutation_depends_on_seed_and_epoch_alone() -> None:
    assert np.array_equal(permutation(1, 2, 50), permutation(1, 2, 50))
    assert not np.array_equal(permutation(1, 2, 50), permutation(1, 3, 50))
    assert not np.array_equal(permutation(1, 2, 50), permutation(2, 2, 50))


def test_draws_differ_by_seed_epoch_and_sample() -> None:
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert len({sample_generator(*key).random() for key in keys}) == 4
    assert sample_generator(1, 2, 3).random() == sample_generator(1, 2, 3).random()


def test_dropout_and_masks_repeat_for_the_same_step() -> None:
    draws = []
    for _ in range(2):
        generator = seeded_torch(step_seed(0, 7, 1))
        draws.append((torch.rand(2), torch.rand(2, generator=generator)))
        torch.rand(5)
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert step_seed(0, 7, 1) != step_seed(0, 7, 0) != step_seed(0, 8, 0)
