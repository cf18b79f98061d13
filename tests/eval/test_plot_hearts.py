"""eval/plot_hearts.py draws what the result files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmret.errors import MmretError

pytest.importorskip("matplotlib", reason="figures need matplotlib")


def test_a_row_a_result(script, tmp_path: Path) -> None:
    row = {
        "protocol": {"label": "made up"},
        "metrics": {"across": 0.6, "random_folds": 0.7},
        "per_database": {"a": 0.5, "b": 0.7},
    }
    (tmp_path / "hearts_01.json").write_text(json.dumps(row))
    (tmp_path / "hearts_02.json").write_text(json.dumps({**row, "metrics": {"across": 0.5}}))
    script("plot_hearts").main(["--results", str(tmp_path), "--out", str(tmp_path / "out" / "hearts.png")])
    assert (tmp_path / "out" / "hearts.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_says_what_makes_it(script, tmp_path: Path) -> None:
    with pytest.raises(MmretError, match=r"eval/hearts\.py"):
        script("plot_hearts").main(["--results", str(tmp_path)])
