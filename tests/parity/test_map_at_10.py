"""Single queries with many relevant items and ties against reference numbers: any fixture named map_at_*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmret.metrics.ranking import relevant_ranks
from mmret.metrics.retrieval import Cutoffs, query_metrics
from tests.conftest import parity_files

RTOL = 1e-8
FILES = parity_files("metrics", "map_at_10*.json")
POLICIES = ("worst", "best", "index")
CUTOFFS = Cutoffs(hits=(10,), depth=10)


def _key(name: str) -> str:
    """The name of a single query's metric in the mean over queries: ap -> map, rr -> mrr."""
    return f"m{name}" if name.startswith(("ap", "rr")) else name


def _measure(query: dict[str, Any], ties: Any) -> tuple[list[int], dict[str, float]]:
    scores = np.array([query["scores"]], dtype=np.float64)
    ranks = relevant_ranks(scores, np.array([query["relevant"]], dtype=bool), ties=ties)
    values = {name: float(value[0]) for name, value in query_metrics(ranks, cutoffs=CUTOFFS).items()}
    return ranks.positions[0].tolist(), values


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("ties", POLICIES)
def test_every_query_equals_reference(path: Path, ties: str) -> None:
    for number, query in enumerate(json.loads(path.read_text())["queries"]):
        expected = dict(query[ties])
        positions, values = _measure(query, ties)
        assert positions == expected.pop("ranks"), number
        assert {name: values[_key(name)] for name in expected} == pytest.approx(expected, rel=RTOL), number


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("ties", ["worst", "best"])
def test_means_equal_reference(path: Path, ties: str) -> None:
    numbers = json.loads(path.read_text())
    mean = np.mean([_measure(query, ties)[1]["map@10"] for query in numbers["queries"]])
    assert mean == pytest.approx(numbers[f"mean_{ties}_map@10"], rel=RTOL)
