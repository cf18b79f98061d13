"""The benchmark runs, checks before it times, and takes its turns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import timing
from tests.conftest import ROOT


def test_variants_take_turns_after_they_warmed_up() -> None:
    called: list[str] = []
    variants = {name: lambda name=name: called.append(name) for name in ("ours", "theirs")}
    seconds = timing.measure(variants, repetitions=3, sample_s=0.0)
    assert called == ["ours", "ours", "theirs", "theirs"] + 3 * ["ours", "theirs"]
    assert {name: len(row) for name, row in seconds.items()} == {"ours": 3, "theirs": 3}


@pytest.mark.parametrize(
    ("theirs", "ratios", "noisy"),
    [
        ([4.0, 5.0, 6.0], {"of_medians": 2.5, "of_minima": 4.0}, True),
        ([2.0, 4.0, 6.0], {"of_medians": 2.0, "of_minima": 2.0}, False),
    ],
)
def test_ratios_are_of_medians_and_of_minima_and_noise_is_told(
    monkeypatch: pytest.MonkeyPatch, theirs: list[float], ratios: dict[str, float], noisy: bool
) -> None:
    monkeypatch.setattr(timing, "measure", lambda *_: {"ours": [1.0, 2.0, 3.0], "theirs": theirs})
    result = timing.compare({}, 3)
    assert result["ratios"] == {"theirs": ratios}
    assert (result["noisy"], result["attempts"]) == (noisy, timing.ATTEMPTS if noisy else 1)
    assert result["times"]["ours"] == {"median_ms": 2000.0, "minimum_ms": 1000.0}


def test_the_time_of_a_process_that_was_started_counts() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    seconds = timing.measure({"child": lambda: subprocess.run([sys.executable, "-c", busy], check=True)}, 1, 0.0)
    assert seconds["child"][0] >= 0.3


@pytest.mark.slow
def test_the_whole_benchmark_runs_in_small(tmp_path: Path) -> None:
    out = tmp_path / "results" / "speed.json"
    command = [sys.executable, ROOT / "bench" / "run.py", "--out", out, "--seconds", "1", "--rows", "200"]
    command += ["--dim", "8", "--repetitions", "1", "--sample-s", "0.001", "--windows", "50", "--files", "20"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(out.read_text())
    differences = {one["name"]: one["largest_difference"] for one in result["operations"]}
    assert len(differences) == 12
    assert [name for name, difference in differences.items() if difference] == [
        "log-mel of 1 s",
        "8 windows -> vectors",
    ]
    assert {"cpu", "versions", "environment"} <= set(result["machine"])
    assert result["machine"]["environment"]["OMP_NUM_THREADS"] == "1"
    for one in result["operations"]:
        assert one["name"] in ended.stdout
        assert "mmret" in one["times"]
        assert all(ratio["of_minima"] > 0 for ratio in one["ratios"].values())
