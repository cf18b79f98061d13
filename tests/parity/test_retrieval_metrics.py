"""Retrieval metrics against reference numbers: any fixture named retrieval_metrics*.json with its .npz beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmret.metrics import audio_to_text, text_to_audio
from mmret.metrics.ranking import relevance_from_owner, relevant_ranks
from mmret.metrics.retrieval import Cutoffs
from tests.conftest import parity_files

RTOL = 1e-8  # float64 throughout: only the order of summation differs
NUMBERS = {path: json.loads(path.read_text()) for path in parity_files("metrics", "retrieval_metrics*.json")}
CASES = [
    pytest.param(path, case, ties, id=f"{path.stem}-{case}-{ties}")
    for path, numbers in NUMBERS.items()
    for case, expected in numbers["cases"].items()
    for ties in expected
    if isinstance(expected[ties], dict)
]


def _case(path: Path, case: str, ties: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    arrays = np.load(path.with_suffix(".npz"))
    # float64 on purpose: float32 would create ties that are not there
    return arrays[f"{case}_sim"].astype(np.float64), arrays[f"{case}_owner"], NUMBERS[path]["cases"][case][ties]


def _cutoffs(expected: dict[str, float]) -> Cutoffs:
    """The cutoffs that the fixture's own keys name."""
    hits = tuple(int(key.split("@")[1]) for key in expected if key.startswith("hit@"))
    return Cutoffs(hits=hits, depth=next(int(key.split("@")[1]) for key in expected if key.startswith("ndcg@")))


@pytest.mark.skipif(not CASES, reason="no reference numbers for retrieval; set MMRET_PARITY")
def test_fixtures_were_found() -> None:
    assert all(path.with_suffix(".npz").is_file() for path in NUMBERS)


@pytest.mark.parametrize(("path", "case", "ties"), CASES)
@pytest.mark.parametrize(("direction", "measure"), [("t2a", text_to_audio), ("a2t", audio_to_text)])
def test_metrics_equal_reference(path: Path, case: str, ties: str, direction: str, measure: Any) -> None:
    sim, owner, expected = _case(path, case, ties)
    got = measure(sim, owner, ties=ties, cutoffs=_cutoffs(expected[direction]))
    assert got == pytest.approx(expected[direction], rel=RTOL, abs=0)


@pytest.mark.parametrize(("path", "case", "ties"), CASES)
def test_ranks_equal_reference_exactly(path: Path, case: str, ties: str) -> None:
    sim, owner, _ = _case(path, case, ties)
    relevant = relevance_from_owner(owner, len(sim))
    arrays = np.load(path.with_suffix(".npz"))
    a2t, t2a = relevant_ranks(sim, relevant, ties=ties), relevant_ranks(sim.T, relevant.T, ties=ties)
    np.testing.assert_array_equal(a2t.first, arrays[f"{case}_{ties}_a2t_first_rank"])
    np.testing.assert_array_equal(t2a.first, arrays[f"{case}_{ties}_t2a_rank"])
