"""The picture of the performance page: cost over length, number of recordings and number of windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmret._optional import require

Points = Sequence[dict[str, Any]]


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw bench/results/scale.json."""
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(10, 7), layout="constrained")
    (length, files), (storing, asking) = figure.subplots(2, 2)
    _lines(length, results["lengths"], "seconds", {"cpu_s": "mmret index"})
    length.set(title="One recording", xlabel="its length, s")
    _lines(files, results["files"], "files", {"cpu_s": "mmret index"})
    files.set(title="Clips of 10 s", xlabel="number of clips")
    kept = {"store_s": "storing vectors", "check_s": "mmret check", "first_query_s": "first search"}
    _lines(storing, results["windows"], "windows", kept)
    storing.set(title="Going through an index", xlabel="windows (384 numbers)")
    queries = {"cold_search_s": "mmret search", "query_s": "a query", "query_of_many_s": "a query among 64"}
    _lines(asking, results["windows"], "windows", queries)
    asking.set(title="Asking", xlabel="windows (384 numbers)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _lines(axes: Any, points: Points, over: str, names: dict[str, str]) -> None:
    for key, label in names.items():
        axes.plot([one[over] for one in points], [one[key] for one in points], "o-", label=label)
    axes.set(xscale="log", yscale="log", ylabel="CPU seconds, one core")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
