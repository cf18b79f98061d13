"""The performance page is what the result files give, and figures read as people write them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import ROOT

BENCH = ROOT / "bench"
MODULES = ("page", "curves", "scale_plan", "table")
MACHINE = {"cpu": "Made up", "cores": 2, "python": "3.11", "versions": {"numpy": "2"}, "environment": {"A": "1"}}
SPEED = {
    "machine": MACHINE,
    "operations": [
        {
            "name": "counting",
            "times": {"mmret": {"median_ms": 2.0}, "fingers": {"median_ms": 9.0}},
            "ratios": {"fingers": {"of_medians": 4.5, "of_minima": 2.0}},
            "noisy": True,
        },
        {"name": "alone", "times": {"mmret": {"median_ms": 0.125}}, "ratios": {}, "noisy": False},
    ],
}
THROUGHPUT = {
    "cores": {
        "clips": 40,
        "clip_s": 10,
        "cores": 4,
        "audio_h_per_cpu_h": 300.0,
        "audio_h_per_h": {"1": 299.0, "4": 1001.0},
        "gain": 3.35,
        "noisy": False,
    },
    "isolation": [{"format": "wav", "here_s": 0.002, "isolated_s": 0.0021, "cost": 0.05}],
}
MEMORY = {
    "indexing": [{"name": "mmret index, 5 clips", "peak_bytes": 2.5e8}],
    "searching": [
        {
            "name": f"mmret search over {windows}",
            "windows": windows,
            "dtype": "f32",
            "peak_bytes": 2e8,
            "vectors_bytes": 1536 * windows,
            "rows_bytes": 100 * windows,
        }
        for windows in (10, 1_000)
    ],
}


def scale(largest: int) -> dict[str, Any]:
    """Costs that grow with what there is: 10 ms a window to index, 100 ns to search."""
    columns = ("store_s", "check_s", "open_s", "first_query_s", "cold_search_s")
    return {
        "lengths": [
            {"seconds": 2.5 * count, "windows": count, "cpu_s": 0.4 + 0.01 * count} for count in (1, 1_000, 2_000)
        ],
        "files": [{"files": count, "windows": 3 * count, "cpu_s": 0.4 + 0.03 * count} for count in (1, 10)],
        "windows": [
            {
                "windows": count,
                "query_s": 1e-7 * count,
                "query_of_many_s": 1e-8 * count,
                "vectors_bytes": 1536 * count,
                "rows_bytes": 100 * count,
                **dict.fromkeys(columns, 0.5),
            }
            for count in (1_000, largest)
        ],
    }


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCH)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("page")
    for name in MODULES:  # other tests must not find names as general as these
        monkeypatch.delitem(sys.modules, name)
    return module


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, content in (("speed", SPEED), ("throughput", THROUGHPUT), ("memory", MEMORY), ("scale", scale(100_000))):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_the_committed_page_is_what_the_committed_results_give(
    page: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.main(["--check"]) == 0, capsys.readouterr().out
    text = (ROOT / "docs" / "performance.md").read_text()
    assert f"({page.PICTURE})" in text
    assert (ROOT / "docs" / page.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_every_operation_and_every_other_has_a_row(page: ModuleType) -> None:
    text = page.page({"speed": SPEED, "throughput": THROUGHPUT, "memory": MEMORY, "scale": scale(100_000)})
    assert "| counting | 2 | fingers | 9 | 4.50 (noise) | 2.00 |" in text
    assert "| alone | 0.125 |  |  |  |  |" in text
    assert "299 hours of sound on one core and 1001 on 4 cores: 3.35 times as many (to hold: 1.7)." in text
    assert "| wav | 2.00 | 2.10 | +5.0% | +0.3% |" in text
    assert "| mmret index, 5 clips | 250 MB | 250 MB | 1,500 MB |" in text
    assert "| mmret search over 1000 | 200 MB | 198 MB | 300 MB |" in text
    assert "| f32 | 1.54 GB | 0.10 GB |" in text
    assert "from an index of 1,000 " in text


def test_a_result_file_that_the_page_does_not_know_has_its_table(page: ModuleType) -> None:
    more = {"machine": MACHINE | {"cpu": "Another"}, "operations": [SPEED["operations"][0] | {"name": "whistling"}]}
    results = {"more": more, "speed": SPEED, "throughput": THROUGHPUT, "memory": MEMORY, "scale": scale(100_000)}
    text = page.page(results)
    assert text.index("Another, 2 cores") < text.index("| whistling | 2 |") < text.index("| counting | 2 |")


def test_pre_training_has_a_section_of_its_own(page: ModuleType) -> None:
    case = {
        "size": "tiny",
        "batch": 4,
        "losses": {"mmret": 2.0, "plain PyTorch": 2.0002},
        "ms_per_sample": {"mmret": 10.0, "mmret, float32": 20.0, "plain PyTorch": 25.0},
        "peak_mb": {"mmret": 91.4, "plain PyTorch": 70.3},
        "ratios": {"plain PyTorch": {"of_medians": 2.5}},
        "noisy": False,
    }
    results = {"throughput": THROUGHPUT, "memory": MEMORY, "scale": scale(100_000)}
    assert "## Pre-training" not in page.page(results)
    text = page.page(results | {"pretraining": {"machine": MACHINE, "cases": [case]}})
    assert "| tiny | 4 | 10.0 | 20.0 | 25.0 | 2.50 | 0.0002 | 91 | 70 |" in text.partition("## Pre-training")[2]


def test_what_was_not_measured_is_marked_as_arithmetic(page: ModuleType) -> None:
    plan = page.scale_plan(scale(100_000))[1].splitlines()[2:]
    assert [row.split(" | ")[0] for row in plan] == [f"| 10^{power}" for power in range(4, 10)]
    cells = {row.split(" | ")[0]: row.split(" | ")[1:-1] for row in plan}
    assert cells["| 10^5"] == ["69 h", "~16.7 min", "154 MB", "10 MB", "10 ms", "1 ms"]
    assert cells["| 10^9"] == ["694,444 h", "~116 days", "~1.54 TB", "~100 GB", "~100 s", "~10 s"]


def test_a_page_is_written_once_and_found_stale_after_a_change(page: ModuleType, results: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    words = ["--results", str(results), "--page", str(results / "docs" / "performance.md")]
    assert page.main([*words, "--check"]) == 1
    assert page.main(words) == 0
    assert (results / "docs" / page.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert page.main([*words, "--check"]) == 0
    (results / "scale.json").write_text(json.dumps(scale(200_000)))
    assert page.main([*words, "--check"]) == 1


def test_figures_read_as_their_examples_say() -> None:
    ended = subprocess.run([sys.executable, "-m", "doctest", BENCH / "table.py"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")
