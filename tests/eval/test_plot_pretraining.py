"""eval/plot_pretraining.py draws what the result files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmret.errors import MmretError

pytest.importorskip("matplotlib", reason="figures need matplotlib")


def test_three_studies_in_one_picture(script, tmp_path: Path) -> None:
    for study in ("target", "background", "speech"):
        for number, mean in enumerate((0.4, 0.6)):
            arm = {
                "protocol": {"label": f"arm {number}"},
                "metrics": {"digit": {"mean": mean, "deviation": 0.1}, "speaker": {"mean": 0.5, "deviation": 0.0}},
            }
            (tmp_path / f"pretraining_{study}_{number}.json").write_text(json.dumps(arm))
    script("plot_pretraining").main(["--results", str(tmp_path), "--out", str(tmp_path / "out" / "pretraining.png")])
    assert (tmp_path / "out" / "pretraining.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_study_says_what_makes_it(script, tmp_path: Path) -> None:
    with pytest.raises(MmretError, match=r"eval/pretraining_study\.py"):
        script("plot_pretraining").main(["--results", str(tmp_path)])
