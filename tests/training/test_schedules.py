"""Shapes of the learning rate."""

from __future__ import annotations

import pytest

from mmret.training.schedules import ConstantThenLinear, WarmupCosine


def test_cosine_rises_from_zero_and_ends_at_the_floor() -> None:
    schedule = WarmupCosine(peak=2.0, warmup=10, total=110, floor=0.5)
    assert [schedule(p) for p in (0, 5, 10, 60, 110)] == pytest.approx([0.0, 1.0, 2.0, 1.25, 0.5])


def test_constant_holds_until_the_last_share() -> None:
    schedule = ConstantThenLinear(peak=2.0, warmup=10, total=100, floor=1.0, decay_fraction=0.3)
    assert [schedule(p) for p in (0, 5, 10, 70, 85, 100)] == pytest.approx([0.0, 1.0, 2.0, 2.0, 1.5, 1.0])


def test_no_warm_up_starts_at_the_peak() -> None:
    assert WarmupCosine(peak=2.0, warmup=0, total=10)(0) == 2.0
    assert ConstantThenLinear(peak=2.0, warmup=0, total=10)(0) == 2.0
