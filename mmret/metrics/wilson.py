"""How far a share of right answers could have moved with other recordings, also where all or none were right."""

from __future__ import annotations

import math

from mmret.metrics.bootstrap import Interval

_NORMAL_QUANTILE = 1.959963984540054  # leaves 2.5 % beyond it on either side


def wilson_interval(right: int, total: int) -> Interval:
    """95 % score interval of the share right / total (Wilson, JASA 1927; Brown, Cai and DasGupta, 2001, section 3.1.1).

    A bootstrap of answers that are all right has no width, however few they are; this interval has.

    >>> interval = wilson_interval(2, 2)
    >>> round(interval.low, 3), interval.high
    (0.342, 1.0)
    """
    if not 0 <= right <= total or total == 0:
        raise ValueError(f"{right} of {total} is no share")
    square = _NORMAL_QUANTILE**2
    centre = (right + square / 2) / (total + square)
    half = _NORMAL_QUANTILE * math.sqrt(right * (total - right) / total + square / 4) / (total + square)
    return Interval(0.0 if right == 0 else centre - half, 1.0 if right == total else centre + half)
