"""embed: vectors in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(("options", "rows"), [([], 3), (["--timestamps"], 9)])
def test_vectors_are_written_and_counted(run: Run, sounds: Path, tmp_path: Path, options: list[str], rows: int) -> None:
    result = run("embed", sounds, "-o", tmp_path / "vectors.npz", *options, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    out = str(tmp_path / "vectors.npz")
    assert json.loads(result.stdout) == {"out": out, "recordings": 3, "vectors": rows, "dim": 24, "failed": []}
    with np.load(out, allow_pickle=False) as stored:
        assert stored["vectors"].shape == (rows, 24)
        assert set(stored["paths"]) == {str(sounds / f"{hz}.wav") for hz in (200, 800, 3000)}
        assert ("start_s" in stored) == bool(options)


def test_people_read_how_much_it_is(run: Run, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npz"
    assert run("embed", sounds, "--out", out).stdout == f"{out}: 3 vectors of 24 numbers from 3 recordings\n"


def test_a_file_that_fails_is_told_and_the_rest_is_written(run: Run, sounds: Path, tmp_path: Path) -> None:
    (sounds / "500.wav").write_text("no sound")
    result = run("embed", sounds, "-o", tmp_path / "vectors.npz", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{sounds / '500.wav'}: ")
    report = json.loads(result.stdout)
    assert (report["vectors"], [row["path"] for row in report["failed"]]) == (3, [str(sounds / "500.wav")])


def test_where_all_fail_there_is_no_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "500.wav").write_text("no sound")
    result = run("embed", tmp_path / "500.wav", "-o", tmp_path / "vectors.npz", "--json")
    assert (result.exit_code, json.loads(result.stdout)["out"]) == (1, None)
    assert not (tmp_path / "vectors.npz").exists()


def test_a_target_that_cannot_be_written_is_told_before_a_model_is_loaded(
    run: Run, sounds: Path, tmp_path: Path
) -> None:
    out = sounds / "200.wav" / "x.npz"
    cases = [
        (tmp_path, f"{tmp_path} is a folder; name a file in it, such as {tmp_path / 'vectors.npz'}"),
        (out, f"{out} cannot be written: {out.parent} is a file, not a folder"),
        (Path("/proc/x"), "/proc/x cannot be written: no such file or directory; name another place"),
    ]
    for target, message in cases:
        result = run("embed", sounds, "-o", target, "--model", "no-such-model")
        assert str(result.exception) == message
