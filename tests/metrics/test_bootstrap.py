"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np

from mmret.metrics import bootstrap_interval


def test_interval_has_the_width_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    interval = bootstrap_interval(values, np.arange(2000), generator=np.random.default_rng(1))
    expected = 2 * 1.96 * values.std() / np.sqrt(2000)
    assert abs((interval.high - interval.low) / expected - 1) < 0.1


def test_one_group_has_no_spread() -> None:
    interval = bootstrap_interval(np.arange(5.0), np.zeros(5, dtype=int), generator=np.random.default_rng(0))
    assert interval.low == interval.high == 2.0
