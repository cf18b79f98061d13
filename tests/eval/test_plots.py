"""eval/plots.py: logs in, a picture out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmret.errors import MmretError

pytest.importorskip("matplotlib", reason="plots need matplotlib")
pytest.importorskip("torch", reason="the log is read by mmret.training")


@pytest.fixture
def logs(tmp_path) -> Path:
    (tmp_path / "logs").mkdir()
    losses = [{"step": step, "loss": 1 / step} for step in (50, 100)]
    points = [{"step": step, "accuracy": step / 200} for step in (0, 100)]
    for name, entries in (("m2d_mini", losses), ("m2d_mini_probe", points)):
        (tmp_path / "logs" / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return tmp_path / "logs"


@pytest.fixture
def draw(script, logs, tmp_path):
    def run() -> Path:
        out = tmp_path / "images" / "m2d.png"
        script("plots").main(["--logs", str(logs), "--results", str(tmp_path / "results"), "--out", str(out)])
        return out

    return run


def test_a_picture_is_drawn_without_results(draw) -> None:
    assert draw().read_bytes().startswith(b"\x89PNG")


def test_the_level_comes_from_the_results(script, tmp_path) -> None:
    (tmp_path / "ingredient_1.json").write_text(json.dumps({"metrics": {"probe_accuracy": 0.25}}))
    assert script("plots").baseline(tmp_path) == {"log-mel mean": 0.25}


def test_missing_logs_end_with_the_command_that_makes_them(draw, logs) -> None:
    (logs / "m2d_mini_probe.jsonl").unlink()
    with pytest.raises(MmretError, match=r"m2d_mini_probe\.jsonl: make it with .*ingredients_over_steps"):
        draw()
