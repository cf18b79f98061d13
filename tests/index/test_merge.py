"""Rules of merging that the fixture does not hold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmret.index.merge import MergeOptions, ScoredWindow, merge_hits


def test_windows_far_below_a_peak_do_not_stretch_its_hit() -> None:
    windows = [ScoredWindow(1, second, second + 1.0, score) for second, score in enumerate((0.1, 0.95, 1.0, 0.5))]
    best, *others = merge_hits(windows, MergeOptions(relative=0.9))
    assert (best.start_s, best.stop_s, best.windows) == (1, 3.0, 2)
    assert [hit.score for hit in others] == [0.5, 0.1]


def test_a_second_event_of_a_recording_is_a_hit_of_its_own_however_good_the_first() -> None:
    scores = (0.2, 0.7, 1.0, 0.6, 0.2, 0.1, 0.5, 0.8, 0.4)  # windows of 2 s every second, events at 3 s and 8 s
    windows = [ScoredWindow(1, float(start), start + 2.0, score) for start, score in enumerate(scores)]
    first, second, *_ = merge_hits(windows, MergeOptions(relative=0.9))
    assert (first.start_s, first.stop_s, first.score) == (2.0, 4.0, 1.0)
    assert (second.start_s, second.stop_s, second.score) == (7.0, 9.0, 0.8)


def test_neighbours_near_a_negative_peak_join_it() -> None:
    windows = [ScoredWindow(1, 0.0, 1.0, -0.10), ScoredWindow(1, 1.0, 2.0, -0.11), ScoredWindow(1, 2.0, 3.0, -0.5)]
    hits = merge_hits(windows, MergeOptions(relative=0.9))
    assert [(hit.start_s, hit.stop_s) for hit in hits] == [(0.0, 2.0), (2.0, 3.0)]


@given(
    scores=st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    hop_s=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    relative=st.floats(0.05, 1.0),
)
def test_hits_of_peaks_do_not_overlap_and_leave_nothing_out(scores: list[float], hop_s: float, relative: float) -> None:
    windows = [ScoredWindow(1, row * hop_s, row * hop_s + 2.0, score) for row, score in enumerate(scores)]
    hits = merge_hits(windows, MergeOptions(relative=relative))
    spans = sorted((hit.start_s, hit.stop_s) for hit in hits)
    assert all(after[0] >= before[1] for before, after in pairwise(spans))
    assert hits[0].score == max(scores)
    for window in windows:
        assert any(start < window.stop_s and window.start_s < stop for start, stop in spans)


def test_no_windows_make_no_hits() -> None:
    assert merge_hits([], MergeOptions(relative=0.9)) == []


@pytest.mark.parametrize("wrong", [{"gap_s": -1.0}, {"score": "best"}, {"per_item": 0}, {"relative": 0.0}])
def test_wrong_options_are_told_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MergeOptions(**wrong)  # type: ignore[arg-type]
