"""eval/retrieval.py on four recordings of which two share a caption."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def result(script, encoder, captioned, tmp_path) -> dict:
    out = tmp_path / "new" / "result.json"
    script("retrieval").main(["--data", str(captioned), "--out", str(out)])
    return json.loads(out.read_text())


def test_clips_with_the_same_caption_are_right(result) -> None:
    assert result["sizes"] == {"A": 4, "T": 4, "relevant_pairs": 6}
    assert result["metrics"]["t2a"]["hit@1"] == result["metrics"]["a2t"]["map"] == 1


def test_both_directions_have_ranks_and_intervals(result) -> None:
    for direction in ("t2a", "a2t"):
        assert result["metrics"][direction]["median_rank"] == 1
        assert result["intervals"][direction]["hit@1"] == [1, 1]
    assert result["hit@1_best_ties"] == {"t2a": 1, "a2t": 1}


def test_protocol_says_what_counts_as_right(result) -> None:
    assert result["protocol"]["relevant"] == "clips with the same caption"
    assert "mean of their unit vectors" in result["model"]["audio_vector"]
