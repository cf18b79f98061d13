"""Neighbouring windows that match, joined to one hit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

GAP_TOLERANCE_S = 1e-9
SCORES = ("max", "mean", "duration_mean")


@dataclass(frozen=True)
class ScoredWindow:
    """One window of an item (a recording; ints of one index, or names) and how well it matches."""

    item: int | str
    start_s: float
    stop_s: float
    score: float


@dataclass(frozen=True)
class MergedHit:
    """Joined windows of one item; the peak is the best of them."""

    item: int | str
    start_s: float
    stop_s: float
    score: float
    peak_start_s: float
    peak_stop_s: float
    windows: int


@dataclass(frozen=True)
class MergeOptions:
    """How windows become hits.

    Windows join when at most `gap_s` lies between them. `score` of a hit: "max", "mean" or "duration_mean" of its
    windows. `per_item` keeps that many hits of a recording. With `relative` a hit is a peak and its neighbours down to
    that share of the peak, and what overlaps it belongs to no other hit; without it a long even recording is one hit.
    """

    gap_s: float = 0.0
    score: str = "max"
    per_item: int | None = None
    relative: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing, by name."""
        if self.gap_s < 0:
            raise ValueError(f"gap_s is {self.gap_s}, it must be at least 0")
        if self.score not in SCORES:
            raise ValueError(f"score is {self.score!r}, it must be one of {', '.join(SCORES)}")
        if self.per_item is not None and self.per_item < 1:
            raise ValueError(f"per_item is {self.per_item}, it must be at least 1")
        if self.relative is not None and not 0 < self.relative <= 1:
            raise ValueError(f"relative is {self.relative}, it must be above 0 and at most 1")


def merge_hits(
    windows: Iterable[ScoredWindow],
    options: MergeOptions,
    *,
    min_score: float | None = None,
    top_k: int | None = None,
) -> list[MergedHit]:
    """Join windows that touch into hits, best first; equal scores by item, then start.

    >>> near = [ScoredWindow("a.wav", 0.0, 2.0, 0.5), ScoredWindow("a.wav", 1.0, 3.0, 0.8)]
    >>> [(hit.start_s, hit.stop_s, hit.score) for hit in merge_hits(near, MergeOptions())]
    [(0.0, 3.0, 0.8)]
    """
    kept = [window for window in windows if min_score is None or window.score >= min_score]
    kept.sort(key=lambda window: (window.item, window.start_s, window.stop_s, -window.score))
    hits: list[MergedHit] = []
    for _, group in groupby(kept, key=lambda window: window.item):
        hits.extend(_item_hits(list(group), options))
    hits.sort(key=lambda hit: (-hit.score, hit.item, hit.start_s))
    return hits[:top_k]


def _item_hits(windows: list[ScoredWindow], options: MergeOptions) -> list[MergedHit]:
    """Hits of one item from its windows in order of time, the best `per_item` of them."""
    groups = _touching(windows, options.gap_s) if options.relative is None else _peaks(windows, options)
    hits = [_joined(group, options.score) for group in groups]
    hits.sort(key=lambda hit: (-hit.score, hit.start_s))
    return hits[: options.per_item]


def _touching(windows: list[ScoredWindow], gap_s: float) -> list[list[ScoredWindow]]:
    """Runs of windows with at most gap_s between them."""
    groups: list[list[ScoredWindow]] = []
    reached_s = 0.0
    for window in windows:
        if not groups or window.start_s - reached_s > gap_s + GAP_TOLERANCE_S:
            groups.append([])
            reached_s = window.stop_s
        groups[-1].append(window)
        reached_s = max(reached_s, window.stop_s)
    return groups


def _peaks(windows: list[ScoredWindow], options: MergeOptions) -> list[list[ScoredWindow]]:
    """The best window with its neighbours near it, then the best of what does not overlap them, and so on."""
    assert options.relative is not None
    free = [True] * len(windows)
    groups = []
    for peak in sorted(range(len(windows)), key=lambda row: (-windows[row].score, row)):
        if not free[peak]:
            continue
        score = windows[peak].score
        # a negative peak is divided, so that "close to the peak" lies below it there too
        floor = score * options.relative if score > 0 else score / options.relative
        first, last = peak, peak

        def joins(row: int, neighbour: int, floor: float = floor) -> bool:
            inside = 0 <= row < len(windows) and free[row]
            return inside and _continues(windows[row], windows[neighbour], floor, options.gap_s)

        while joins(first - 1, first):
            first -= 1
        while joins(last + 1, last):
            last += 1
        groups.append(windows[first : last + 1])
        _take(windows, free, first, last)
    return groups


def _continues(window: ScoredWindow, neighbour: ScoredWindow, floor: float, gap_s: float) -> bool:
    """Whether a window is good enough to go on with a hit, and touches its neighbour there."""
    apart_s = max(window.start_s, neighbour.start_s) - min(window.stop_s, neighbour.stop_s)
    return window.score >= floor and apart_s <= gap_s + GAP_TOLERANCE_S


def _take(windows: list[ScoredWindow], free: list[bool], first: int, last: int) -> None:
    """Mark the windows of a hit, and those before and after that overlap it, as used."""
    start_s, stop_s = windows[first].start_s, max(window.stop_s for window in windows[first : last + 1])
    while first and windows[first - 1].stop_s > start_s:
        first -= 1
    while last + 1 < len(windows) and windows[last + 1].start_s < stop_s:
        last += 1
    free[first : last + 1] = [False] * (last + 1 - first)


def _joined(windows: Sequence[ScoredWindow], score: str) -> MergedHit:
    """One hit that spans `windows`."""
    peak = min(windows, key=lambda window: (-window.score, window.start_s, window.stop_s))
    if score == "max":
        value = peak.score
    elif score == "mean":
        value = sum(window.score for window in windows) / len(windows)
    else:
        duration_s = sum(window.stop_s - window.start_s for window in windows)
        value = sum(window.score * (window.stop_s - window.start_s) for window in windows) / duration_s
    return MergedHit(
        item=windows[0].item,
        start_s=windows[0].start_s,
        stop_s=max(window.stop_s for window in windows),
        score=value,
        peak_start_s=peak.start_s,
        peak_stop_s=peak.stop_s,
        windows=len(windows),
    )
