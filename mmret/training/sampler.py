"""The order of samples and every random draw of a run, as pure functions of the seed and the position.

No generator state is carried from step to step, so a run resumed at a step repeats what an unbroken run would do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from mmret.errors import TrainingError


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Order of `count` samples in an epoch."""
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)
    order.setflags(write=False)  # shared by all who ask
    return order


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Generator for what is drawn for one sample in one epoch: its crop, its caption, its augmentation."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch], spawn_key=(index,))))


def step_seed(seed: int, micro_step: int, rank: int) -> int:
    """Seed of what the model draws in one forward pass: masks and dropout."""
    state = np.random.SeedSequence([seed, micro_step], spawn_key=(rank,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))  # torch takes 63 bits on every device


def seeded_torch(seed: int) -> torch.Generator:
    """Seed torch's own generator, which dropout uses, and return a CPU generator for the draws of an objective."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class BatchOrder:
    """Which samples each forward pass sees: epochs are shuffled, ranks take turns, the rest is dropped."""

    samples: int
    batch_size: int
    accumulation: int = 1
    world_size: int = 1
    rank: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse data that cannot fill a single step."""
        if self.samples < self.samples_per_step:
            raise TrainingError(
                f"{self.samples} samples cannot fill one step of {self.samples_per_step} "
                f"({self.batch_size} x {self.accumulation} accumulated x {self.world_size} processes); "
                "give more data or a smaller batch_size"
            )

    @property
    def samples_per_step(self) -> int:
        """Samples of one optimiser step over all processes."""
        return self.batch_size * self.accumulation * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the data."""
        return self.samples // self.samples_per_step

    def epoch(self, step: int) -> int:
        """Epoch that a step belongs to, from 0."""
        return step // self.steps_per_epoch

    def indices(self, step: int, micro: int) -> list[int]:
        """Samples of this rank in pass `micro` of a step."""
        order = permutation(self.seed, self.epoch(step), self.samples)
        start = (step % self.steps_per_epoch) * self.samples_per_step
        start += (micro * self.world_size + self.rank) * self.batch_size
        return [int(index) for index in order[start : start + self.batch_size]]
