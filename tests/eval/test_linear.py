"""eval/linear.py on a tiny corpus in ESC-50's layout, and eval/own_labels.py beside the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmret.data import LEARNT_FOLDS
from tests.conftest import ROOT
from tests.tasks.fake_encoder import FakeEncoder, tone

RATE = 8_000


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three classes in four folds: tones of three heights, the third of fold 4 sounding like the second."""
    rows = ["file,fold,target,category,path,label"]
    for number in range(36):
        fold, target = number // 9 + 1, number % 3
        heard = 1 if (fold, target) == (4, 2) else target
        soundfile.write(tmp_path / f"{number}.wav", tone((150, 600, 2400)[heard], 0.5, seed=number), RATE)
        name = ("low", "middle", "high")[target]
        rows.append(f"{number}.wav,{fold},{target},{name},{number}.wav,{name}")
    (tmp_path / "meta.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake encoder in place of a model, for scripts and commands."""
    import mmret.encoder

    def from_pretrained(model: str, *, runtime: str = "auto") -> FakeEncoder:
        return FakeEncoder()

    monkeypatch.setattr(mmret.encoder.Encoder, "from_pretrained", from_pretrained)
    monkeypatch.setitem(vars(mmret), "Encoder", mmret.encoder.Encoder)


@pytest.mark.usefixtures("heard")
def test_every_fold_is_tested_in_turn_with_each_seed(script, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "out" / "result.json"
    script("linear").main(
        ["--corpus", "esc50", "--data", str(corpus), "--out", str(out), "--learning-rate", "0.01", "--label", "here"]
    )
    told = capsys.readouterr()
    assert "over seeds): mean over tests and seeds 42, 43, 44; by test: 1 100.0, 2 100.0, 3 100.0, 4 " in told.out
    assert "warning: of the 5 folds of esc50 this copy lacks 5: " in told.err and "trained on" not in told.err
    result = json.loads(out.read_text())
    assert len(result["protocol"]["warnings"]) == 1
    assert list(result["scores"]) == ["42", "43", "44"]
    assert all(scores[:3] == [1.0] * 3 and scores[3] < 1 for scores in result["scores"].values())
    means = [np.mean(scores) for scores in result["scores"].values()]
    assert result["metrics"]["accuracy"] == pytest.approx(np.mean(means), abs=1e-6)
    assert result["protocol"]["test"] == ["1", "2", "3", "4"]
    assert result["sizes"] == {"clips": 36, "test": 36, "classes": 3, "dim": 24, "left_out": 0}
    assert result["protocol"] | {"name": "linear", "unit_s": 5.0, "label": "here"} == result["protocol"]


@pytest.mark.usefixtures("heard")
def test_some_folds_are_the_test_together(script, corpus, tmp_path) -> None:
    out = tmp_path / "out" / "result.json"
    options = ["--learning-rate", "0.01", "--seeds", "42", "--test-folds", "4"]
    script("linear").main(["--corpus", "esc50", "--data", str(corpus), "--out", str(out), *options])
    result = json.loads(out.read_text())
    assert result["metrics"] == {"accuracy": pytest.approx(2 / 3, abs=1e-5), "accuracy_half_width": None}
    low, high = result["intervals"]["accuracy"]
    assert low < 2 / 3 < high


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("folds", "warned"), [([], True), (["--test-folds", "4"], False)])
def test_folds_that_the_shipped_model_learnt_are_told(
    script, corpus, tmp_path, monkeypatch, capsys, folds, warned
) -> None:
    monkeypatch.setattr(FakeEncoder, "name", "mmret-mini")
    options = ["--learning-rate", "0.01", "--seeds", "42", "--out", str(tmp_path / "out" / "result.json"), *folds]
    script("linear").main(["--corpus", "esc50", "--data", str(corpus), *options])
    told = capsys.readouterr()
    assert ("mmret-mini was trained on clips of esc50's folds 1, 2, 3" in told.err) == warned
    assert "±" not in told.out


def test_the_card_names_the_folds_that_count_as_learnt() -> None:
    first, *_, last = LEARNT_FOLDS["mmret-mini", "esc50"]
    assert f"ESC-50, folds {first}-{last}," in (ROOT / "mmret/pretrained/mmret-mini/README.md").read_text("utf-8")


@pytest.mark.usefixtures("heard")
def test_own_labels_are_what_the_command_reaches(script, corpus, tmp_path) -> None:
    from typer.testing import CliRunner

    from mmret.cli import app

    out = tmp_path / "out" / "result.json"
    table = str(corpus / "meta.csv")
    script("own_labels").main([table, "--out", str(out), "--data", "tones", "--seed", "7"])
    command = ["finetune", table, "--to", str(tmp_path / "own"), "--seed", "7", "--json"]
    told = json.loads(CliRunner().invoke(app, command).stdout)
    result = json.loads(out.read_text())
    for name in ("accuracy", "valid_accuracy", "epoch"):
        assert result["metrics"][name] == pytest.approx(told[name], abs=1e-6)
    assert result["sizes"] == {"train": told["train"], "valid": told["valid"], "test": 9, "classes": 3}
    assert result["per_class"]["middle"]["recall"] == told["labels"][2]["recall"] == 1.0
    assert result["protocol"]["split"] == told["split"] == "4"
