"""Merge of neighbouring hits equals the reference renderings, whatever cases a fixture holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmret.index.merge import MergeOptions, ScoredWindow, merge_hits
from tests.conftest import parity_files


@pytest.mark.parametrize("path", parity_files("metrics", "hit_merge*.json"), ids=lambda path: path.stem)
def test_merged_hits_equal_the_fixture(path: Path) -> None:
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
        given = case["options"]
        options = MergeOptions(gap_s=given["gap"], score=given["score"], per_item=given["per_item"])
        windows = [ScoredWindow(row["item"], row["start"], row["end"], row["score"]) for row in case["segments"]]
        hits = merge_hits(windows, options, min_score=given["min_score"], top_k=given["top_k"])
        assert len(hits) == len(case["merged"])
        for hit, expected in zip(hits, case["merged"], strict=True):
            assert hit.item == expected["item"]
            assert hit.windows == expected["n_segments"]
            found = (hit.start_s, hit.stop_s, hit.score, hit.peak_start_s, hit.peak_stop_s)
            keys = ("start", "end", "score", "peak_start", "peak_end")
            assert found == pytest.approx([expected[key] for key in keys], rel=1e-8)
