"""finetune: from a table to a classifier that classify uses; and what is told of a bad table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from mmret.errors import DataLayoutError, ModelFormatError
from tests.tasks.fake_encoder import write_tone

Run = Callable[..., Result]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten low and ten high tones in five folds."""
    rows = ["path,label,fold"]
    for number in range(20):
        label, hz = ("low", 200) if number < 10 else ("high", 2000)
        write_tone(tmp_path / "tones" / f"{number}.wav", hz + number, seed=number)
        rows.append(f"{number}.wav,{label},{number % 5 + 1}")
    (tmp_path / "tones" / "labels.csv").write_text("\n".join(rows))
    return tmp_path / "tones" / "labels.csv"


def test_a_table_becomes_a_classifier_that_classify_uses(run: Run, table: Path, tmp_path: Path) -> None:
    result = run("finetune", table, "--to", tmp_path / "own", "--json")
    few = "warning: 4 recordings held out, fewer than 30: the figures will be rough\n"
    assert (result.exit_code, result.stderr) == (0, few)
    report = json.loads(result.stdout)
    assert (report["accuracy"], report["accuracy_interval"]) == (1.0, pytest.approx([0.5101, 1.0], abs=1e-4))
    assert (report["split"], report["test"], report["train"] + report["valid"], report["seed"]) == ("5", 4, 16, 42)
    assert report["labels"] == [
        {"label": label, "recordings": 2, "recall": 1.0, "precision": 1.0} for label in ("high", "low")
    ]
    assert json.loads((tmp_path / "own" / "classifier.json").read_text())["results"]["accuracy"] == 1.0
    new = write_tone(tmp_path / "new.wav", 205)
    rows = json.loads(run("classify", new, "--model", tmp_path / "own", "--json").stdout)["labels"]
    assert [row["label"] for row in rows] == ["low", "high"]
    assert sum(row["score"] for row in rows) == pytest.approx(1.0)


def test_people_get_a_table_and_what_to_do_next(run: Run, table: Path, tmp_path: Path) -> None:
    lines = run("finetune", table, "--to", tmp_path / "own", "--test-fold", "1", "--test-fold", "2").stdout.splitlines()
    assert lines[0].split() == ["label", "held", "out", "found", "right"]
    assert [line.split()[:2] for line in lines[1:3]] == [["high", "4"], ["low", "4"]]
    assert lines[3].startswith("100.0% of 8 held-out recordings are right (95 % interval")
    assert lines[-1] == f"{tmp_path / 'own'} is ready: mmret classify PATH --model {tmp_path / 'own'}"


def test_the_same_seed_gives_the_same_numbers(run: Run, table: Path, tmp_path: Path) -> None:
    text = table.read_text().replace("fold", "batch")  # no split of its own
    table.write_text(text)
    reports = [
        json.loads(run("finetune", table, "--to", tmp_path / str(n), "--seed", seed, "--json").stdout)
        for n, seed in enumerate(("3", "3"))
    ]
    assert reports[0] | {"model": ""} == reports[1] | {"model": ""}
    assert reports[0]["split"] == "random"
    heads = [(tmp_path / str(n) / "head.npz").read_bytes() for n in range(2)]
    assert len(heads[0]) == len(heads[1])


def test_a_bad_table_or_target_stops_before_a_model_is_loaded(run: Run, table: Path, tmp_path: Path) -> None:
    (table.parent / "3.wav").unlink()
    assert isinstance(run("finetune", table, "--to", tmp_path / "own").exception, DataLayoutError)
    (tmp_path / "own").mkdir()
    error = run("finetune", table, "--to", tmp_path / "own").exception
    assert isinstance(error, ModelFormatError) and "exists already" in str(error)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("fold\n0.wav,low,1\n1.wav,low,1\n10.wav,high,1\n11.wav,high,1", "all recordings are in fold 1; a second"),
        ("split\n0.wav,low,test\n1.wav,low,test\n10.wav,high,test\n11.wav,high,test", "no clip is of the part train"),
        ("x\n0.wav,low,\n1.wav,low,\n10.wav,high,\n11.wav,high,", "three recordings of a label are the least"),
    ],
    ids=["one fold", "all test", "two of each"],
)
def test_a_split_that_cannot_be_is_told_at_once_with_the_table(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, message: str
) -> None:
    monkeypatch.setattr("mmret.tasks.finetune.finetune_head", lambda *_, **__: pytest.fail("listened"))
    table.write_text(f"path,label,{rows}\n")
    error = run("finetune", table, "--to", tmp_path / "own").exception
    assert isinstance(error, DataLayoutError)
    assert str(error).startswith(f"{table} cannot be learnt from: ") and message in str(error)


def test_a_target_that_cannot_be_written_is_told_before_the_table_is_read(run: Run, table: Path) -> None:
    for target, reason in ((table / "x", f"{table} is a file, not a folder"), (Path("/proc/x"), "no such file")):
        error = run("finetune", "no.csv", "--to", target).exception
        assert str(error).startswith(f"{target} cannot be written: {reason}")


def test_a_held_out_copy_of_what_is_learnt_is_warned_of(run: Run, table: Path, tmp_path: Path) -> None:
    (table.parent / "4.wav").write_bytes((table.parent / "0.wav").read_bytes())  # folds 5 and 1
    lines = run("finetune", table, "--to", tmp_path / "own").stderr.splitlines()
    four, first = table.parent / "4.wav", table.parent / "0.wav"
    assert lines[1] == f"warning: {four} is held out, and its copy {first} is learnt from: the figures will be too good"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit(130)], ids=["listening", "training"])
def test_a_whole_fine_tuning_that_is_stopped_says_what_was_not_written(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    pytest.importorskip("torch")

    def stopped(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr("mmret.tasks.finetune_whole.finetune_whole", stopped)
    result = run("finetune", table, "--to", tmp_path / "own", "--whole")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == f"stopped; {tmp_path / 'own'} was not written"


def test_recordings_that_cannot_be_read_are_named_and_nothing_is_written(run: Run, table: Path, tmp_path: Path) -> None:
    (table.parent / "3.wav").write_text("no sound")
    error = run("finetune", table, "--to", tmp_path / "own").exception
    assert isinstance(error, DataLayoutError)
    assert "1 of 20 recordings cannot be used" in str(error) and "3.wav" in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["tones"]


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--seed", "x"], ["--to"]], ids=str)
def test_wrong_usage_is_exit_code_2(run: Run, table: Path, tmp_path: Path, options: list[str]) -> None:
    assert run("finetune", table, "--to", tmp_path / "own", *options).exit_code == 2


def test_labels_of_a_classifier_are_its_own(run: Run, table: Path, tmp_path: Path) -> None:
    run("finetune", table, "--to", tmp_path / "own")
    refused = run("classify", table.parent, "--model", tmp_path / "own", "--labels", "a,b")
    assert refused.exit_code == 2
    assert "labels of its own" in refused.output.replace("\n", " ")
    assert run("classify", table.parent).exit_code == 2  # words need labels
