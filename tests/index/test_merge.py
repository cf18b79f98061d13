"""Rules of merging that the fixture does not hold."""

from __future__ import annotations

import pytest

from mmret.index.merge import MergeOptions, ScoredWindow, merge_hits


def test_windows_far_below_the_best_of_their_recording_do_not_stretch_a_hit() -> None:
    windows = [ScoredWindow(1, second, second + 1.0, score) for second, score in enumerate((0.1, 0.95, 1.0, 0.5))]
    (hit,) = merge_hits(windows, MergeOptions(relative=0.9))
    assert (hit.start_s, hit.stop_s, hit.windows) == (1, 3.0, 2)


def test_a_relative_threshold_keeps_the_best_of_negative_scores() -> None:
    windows = [ScoredWindow(1, 0.0, 1.0, -0.10), ScoredWindow(1, 5.0, 6.0, -0.11), ScoredWindow(1, 9.0, 10.0, -0.5)]
    assert [hit.start_s for hit in merge_hits(windows, MergeOptions(relative=0.9))] == [0.0, 5.0]


def test_no_windows_make_no_hits() -> None:
    assert merge_hits([], MergeOptions(relative=0.9)) == []


@pytest.mark.parametrize("wrong", [{"gap_s": -1.0}, {"score": "best"}, {"per_item": 0}, {"relative": 0.0}])
def test_wrong_options_are_told_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MergeOptions(**wrong)  # type: ignore[arg-type]
