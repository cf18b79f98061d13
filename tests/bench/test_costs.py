"""Memory, scale and throughput are measured by commands that run, in small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import processes
from tests.conftest import ROOT


def test_a_command_tells_what_it_took() -> None:
    large = bytearray(200_000_000)  # of the process that asks, and no other's
    ended = processes.mmret("--version")
    assert len(large)
    assert ended.output.strip()
    assert 0 < ended.cpu_s < 5 and ended.wall_s > 0
    assert 5e6 < ended.peak_bytes < 1e8
    assert 0 <= ended.others <= 1.5
    with pytest.raises(subprocess.CalledProcessError) as failed:
        processes.mmret("info", "/no/such/index")
    assert "no such folder" in failed.value.stderr


def test_cores_and_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    allowed = os.sched_getaffinity(0)
    with processes.on_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.sched_getaffinity(0) == allowed
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def measured(script: str, out: Path, *words: str) -> dict[str, Any]:
    """What a script of bench/ writes."""
    command = [sys.executable, ROOT / "bench" / script, "--out", out / "results" / "one.json", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads((out / "results" / "one.json").read_text())
    assert {"cpu", "versions", "environment"} <= set(result["machine"])
    return result


@pytest.mark.slow
def test_memory_is_measured(tmp_path: Path) -> None:
    result = measured("memory.py", tmp_path, "--clips", "2", "--hours", "0.005", "--windows", "120")
    assert [(one["added"], one["windows"]) for one in result["indexing"]] == [(2, 6), (1, 7)]
    assert [(one["dtype"], one["vectors_bytes"]) for one in result["searching"]] == [("f32", 184_320), ("f16", 92_160)]
    for one in (*result["indexing"], *result["searching"]):
        assert 5e7 < one["peak_bytes"] < 1.5e9


@pytest.mark.slow
def test_scale_is_measured(tmp_path: Path) -> None:
    words = ["--seconds", "2", "12", "--files", "1", "2", "--windows", "50", "1100"]
    result = measured("scale.py", tmp_path, *words)
    assert [(one["seconds"], one["windows"]) for one in result["lengths"]] == [(2, 1), (12, 4)]
    assert [(one["files"], one["windows"]) for one in result["files"]] == [(1, 3), (2, 6)]
    assert [one["vectors_bytes"] for one in result["windows"]] == [50 * 384 * 4, 1_100 * 384 * 4]
    for one in (*result["lengths"], *result["files"], *result["windows"]):
        assert all(value > 0 for value in one.values())
    assert result["machine"]["environment"]["OMP_NUM_THREADS"] == "1"


@pytest.mark.slow
def test_throughput_is_measured(tmp_path: Path) -> None:
    result = measured("throughput.py", tmp_path, "--clips", "2", "--decoded", "2", "--repetitions", "1")
    cores = result["cores"]
    assert len(cores["runs"]["1"]) == 1
    assert cores["gain"] == pytest.approx(cores["audio_h_per_h"][str(cores["cores"])] / cores["audio_h_per_h"]["1"])
    assert [one["format"] for one in result["isolation"]] == ["wav", "flac", "mp3"]
    assert all(one["here_s"] > 0 and one["isolated_s"] > 0 for one in result["isolation"])
