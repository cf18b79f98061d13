"""mmret finetune --whole, from a table to labels of new recordings, with a real tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmret.cli import app
from mmret.errors import DataLayoutError, ModelFormatError
from mmret.tasks.fine_tune_recipe import FineTuneRecipe
from mmret.tasks.finetune import read_own_data
from mmret.tasks.finetune_whole import finetune_whole
from tests.conftest import ROOT
from tests.encoder import tiny_models
from tests.tasks.fake_encoder import write_tone

SETTINGS = """
fine_tuning: {freq_mask: 4}
epochs: 12
batch_size: 6
learning_rate: 3.0e-3
weight_decay: 0.0
"""


def command(*words: str | Path) -> list[dict]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = ["path,label,split"]
    for number in range(18):
        label, hz = ("low", 200) if number % 2 else ("high", 3000)
        write_tone(tmp_path / "tones" / f"{number}.wav", hz + number, 0.5, seed=number)
        rows.append(f"{number}.wav,{label},{'test' if number > 13 else 'valid' if number > 11 else 'train'}")
    (tmp_path / "tones" / "labels.csv").write_text("\n".join(rows))
    return tmp_path / "tones" / "labels.csv"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(SETTINGS)
    return tmp_path / "recipe.yaml"


def test_all_weights_learn_and_the_folder_classifies(table: Path, recipe: Path, tmp_path: Path) -> None:
    model = tiny_models.conv_clap(tmp_path / "model", text=False)
    (report,) = command("finetune", table, "--to", tmp_path / "own", "--model", model, "--config", recipe)
    assert (report["train"], report["valid"], report["test"]) == (12, 2, 4)
    assert 1 <= report["epoch"] <= 12
    assert report["accuracy"] == 1.0
    names = sorted(path.name for path in (tmp_path / "own").iterdir())
    assert names == ["classifier.json", "config.json", "model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "own", "recipe.yaml", "tones"]
    long = write_tone(tmp_path / "new.wav", 3010, 2.3)
    (row,) = command("classify", long, "--model", tmp_path / "own")
    assert row["labels"][0]["label"] == "high"
    assert sum(one["score"] for one in row["labels"]) == pytest.approx(1.0)


def test_the_length_of_a_piece_is_that_of_the_longest_recording(table: Path, recipe: Path, tmp_path: Path) -> None:
    model = tiny_models.m2d_clap(tmp_path / "model")
    write_tone(table.parent / "0.wav", 3000, 1.2)
    recipe.write_text("epochs: 1\nfine_tuning: {training_mask: 0.5}\n")
    command("finetune", table, "--to", tmp_path / "own", "--model", model, "--config", recipe)
    facts = json.loads((tmp_path / "own" / "classifier.json").read_text())
    assert facts["kind"] == "whole"
    assert facts["unit_s"] == pytest.approx(0.69)  # no more than the model's window


def test_the_recipes_input_length_comes_first(table: Path, recipe: Path, tmp_path: Path) -> None:
    model = tiny_models.m2d_clap(tmp_path / "model")
    recipe.write_text("epochs: 1\nfine_tuning: {dur_frames: 161}\n")
    command("finetune", table, "--to", tmp_path / "own", "--model", model, "--config", recipe)
    assert json.loads((tmp_path / "own" / "classifier.json").read_text())["unit_s"] == 1.6
    assert json.loads((tmp_path / "own" / "config.json").read_text())["input_size"] == [80, 161]
    command("classify", table.parent / "1.wav", "--model", tmp_path / "own")


def test_two_steps_of_the_recipe_to_copy(table: Path, tmp_path: Path) -> None:
    model = tiny_models.conv_clap(tmp_path / "model", text=False)
    two_steps = ["--epochs", "0", "--steps", "2", "--warmup_epochs", "0", "--batch_size", "6"]
    recipe = FineTuneRecipe.from_yaml(ROOT / "train" / "configs" / "own_labels.yaml", two_steps)
    report = finetune_whole(read_own_data(table), str(model), tmp_path / "own", recipe)
    assert report.epoch == 1
    assert 0 <= report.accuracy <= 1


def test_faults_leave_nothing_behind(table: Path, recipe: Path, tmp_path: Path) -> None:
    (table.parent / "3.wav").write_text("no sound")
    model = tiny_models.conv_clap(tmp_path / "model", text=False)
    with pytest.raises(DataLayoutError, match="1 of 18 recordings cannot be used"):
        command("finetune", table, "--to", tmp_path / "own", "--model", model, "--whole")
    write_tone(table.parent / "3.wav", 200, 0.5)
    recipe.write_text("epochs: 1\nfine_tuning: {training_mask: 0.5}\n")
    with pytest.raises(ModelFormatError, match="has no patches"):
        command("finetune", table, "--to", tmp_path / "own", "--model", model, "--config", recipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "recipe.yaml", "tones"]


def test_a_network_of_other_labels_is_refused(table: Path, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text("epochs: 1\nbatch_size: 12\n")
    model = tiny_models.conv_clap(tmp_path / "model", text=False)
    command("finetune", table, "--to", tmp_path / "own", "--model", model, "--config", recipe)
    tiny_models.edit_json(tmp_path / "own" / "classifier.json", labels=["a", "b", "c"])
    with pytest.raises(ModelFormatError, match="tells 2 classes apart, 3 are named"):
        command("classify", table.parent / "1.wav", "--model", tmp_path / "own")
