"""Interleaved measurements in CPU time: neighbours on the machine touch every variant alike."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

Variants = dict[str, Callable[[], object]]

SAMPLE_S = 0.05
NOISE = 0.2  # medians and minima that tell ratios further apart than this are noise
ATTEMPTS = 3


def measure(variants: Variants, repetitions: int, sample_s: float = SAMPLE_S) -> dict[str, list[float]]:
    """CPU seconds of one call, (repetitions,) a variant; each repetition runs every variant once."""
    calls = {name: _calls_in(call, sample_s) for name, call in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repetitions):
        for name, call in variants.items():
            seconds[name].append(_cpu_s(call, calls[name]) / calls[name])
    return seconds


def compare(variants: Variants, repetitions: int, sample_s: float = SAMPLE_S) -> dict[str, Any]:
    """Times in ms, and how many times as long as the first variant each other one takes; again while it is noise."""
    attempt, noisy = 0, True
    while noisy and attempt < ATTEMPTS:
        attempt += 1
        seconds = measure(variants, repetitions, sample_s)
        ours, *_ = seconds.values()
        ratios = {
            name: {"of_medians": median(theirs) / median(ours), "of_minima": min(theirs) / min(ours)}
            for name, theirs in seconds.items()
            if theirs is not ours
        }
        noisy = any(max(pair.values()) > (1 + NOISE) * min(pair.values()) for pair in ratios.values())
    times = {name: {"median_ms": 1e3 * median(row), "minimum_ms": 1e3 * min(row)} for name, row in seconds.items()}
    return {"times": times, "ratios": ratios, "noisy": noisy, "attempts": attempt}


def _calls_in(call: Callable[[], object], sample_s: float) -> int:
    """Calls that fill one sample; the two calls before it warm up."""
    call()
    return max(1, round(sample_s / max(_cpu_s(call, 1), 1e-7)))


def _cpu_s(call: Callable[[], object], calls: int) -> float:
    start = _used_s()
    for _ in range(calls):
        call()
    return _used_s() - start


def _used_s() -> float:
    """CPU seconds of this process and of those that it has started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
