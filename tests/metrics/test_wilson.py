"""The score interval of a share."""

from __future__ import annotations

import pytest

from mmret.metrics import wilson_interval


def test_interval_agrees_with_published_figures() -> None:
    # Newcombe, Statistics in Medicine 1998, table I, method 3
    interval = wilson_interval(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    interval = wilson_interval(15, 148)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0624, 0.1605)
    interval = wilson_interval(0, 20)
    assert (interval.low, round(interval.high, 4)) == (0.0, 0.1611)


def test_all_right_still_has_width_and_mirrors_none_right() -> None:
    full, none = wilson_interval(29, 29), wilson_interval(0, 29)
    assert full.high == 1.0
    assert full.low == pytest.approx(1 - none.high)
    assert none.high == pytest.approx(0.1170, abs=1e-4)


@pytest.mark.parametrize(("right", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share_is_refused(right: int, total: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(right, total)
