"""Learning rate over a run, as functions of the position; positions are steps or epochs, fractions included."""

from __future__ import annotations

import math
from dataclasses import dataclass

REFERENCE_BATCH = 256


def learning_rate_for_batch(base_learning_rate: float, effective_batch: int) -> float:
    """Learning rate from the one for a batch of 256; effective_batch counts devices and accumulation."""
    return base_learning_rate * effective_batch / REFERENCE_BATCH


@dataclass(frozen=True)
class WarmupCosine:
    """Linear from 0 to `peak` over `warmup`, then half a cosine to `floor` at `total`, as M2D trains."""

    peak: float
    warmup: float
    total: float
    floor: float = 0.0

    def __call__(self, position: float) -> float:
        """Learning rate at a position in [0, total]."""
        if position < self.warmup:
            return self.peak * position / self.warmup
        progress = (position - self.warmup) / max(self.total - self.warmup, 1e-12)
        return self.floor + (self.peak - self.floor) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class CosineUnderWarmup:
    """Linear from 0 to `peak` over `warmup`, then the cosine that has run since 0, as M2D is fine-tuned (EVAR, timm).

    The cosine does not wait for the warm-up, so the rate drops a little where that ends.
    """

    peak: float
    warmup: float
    total: float
    floor: float = 0.0

    def __call__(self, position: float) -> float:
        """Learning rate at a position in [0, total]."""
        if position < self.warmup:
            return self.peak * position / self.warmup
        progress = min(position / self.total, 1.0)
        return self.floor + (self.peak - self.floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class SetAfterStep:
    """A schedule that is asked after each step, as EVAR does: the first two steps run at the rate of position 0."""

    schedule: CosineUnderWarmup

    def __call__(self, step: float) -> float:
        """Learning rate of a step, from 0."""
        return self.schedule(max(step - 1, 0))


@dataclass(frozen=True)
class ConstantThenLinear:
    """Linear from 0 to `peak` over `warmup`, constant, then linear to `floor` over the last `decay_fraction`."""

    peak: float
    warmup: float
    total: float
    floor: float = 0.0
    decay_fraction: float = 0.3

    def __call__(self, position: float) -> float:
        """Learning rate at a position in [0, total]."""
        if position < self.warmup:
            return self.peak * position / self.warmup
        decay = self.total * self.decay_fraction
        left = min(1.0, max(self.total - position, 0.0) / decay) if decay else 1.0
        return self.floor + (self.peak - self.floor) * left
