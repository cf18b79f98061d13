"""The files train/configs/finetune_*.yaml say what the specification says that M2D's authors published."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmret.data import CORPORA
from mmret.errors import TrainingError
from mmret.heads import LinearConfig
from mmret.tasks.fine_tune_recipe import OWN_TRAINING, FineTuneRecipe
from tests.conftest import ROOT, SHARED

CONFIGS = sorted((ROOT / "train" / "configs").glob("finetune_*.yaml"))
SPECIFICATION = SHARED / "specs" / "m2d.md"

by_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)

# name in the specification: corpus of ours
CORPUS = {
    "as2m": "audioset",
    "as20k": "audioset_balanced",
    "esc50": "esc50",
    "spcv2": "speech_commands",
    "vc1": "voxceleb1",
}


def specification() -> str:
    if not SPECIFICATION.is_file():
        pytest.skip(f"no specification at {SPECIFICATION}")
    return SPECIFICATION.read_text(encoding="utf-8")


def table_row(section: str, name: str) -> dict[str, str]:
    """The row of a table in a section that begins with a task's name, by column."""
    text = specification().split(f"### {section}")[1].split("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if re.sub(r"\W", "", row[0]).lower() == name]
    return dict(zip(rows[0], row, strict=True))


def published(name: str) -> dict[str, Any]:
    """What a row of the table of fine-tuning says, by our names."""
    row = table_row("7.3", name)
    epochs, warmup = row["epochs / warm-up"].split(" / ")
    freq, time = row["freq / time mask"].split(" / ")
    return {
        "optimiser": row["optimiser"].lower(),
        "learning_rate": float(row["lr"]),
        "epochs": float(epochs),
        "warmup_epochs": float(warmup),
        "batch_size": int(row["batch"]),
        "mixup_alpha": float(row["mixup alpha"]),
        "resize_crop": row["RRC"] == "yes",
        "freq_mask": int(freq),
        "time_mask": int(time),
        "training_mask": float(row["training_mask"]),
        "dur_frames": None if row["dur_frames"] == "-" else int(row["dur_frames"]),
        "freeze_patch_embed": "patch embedding frozen" in row["other"],
        "samples_per_epoch": int("".join(re.findall(r"([\d,]+) clips", row["other"])).replace(",", "") or 0),
    }


@by_config
def test_every_published_number_is_in_its_file(path: Path) -> None:
    recipe = FineTuneRecipe.from_yaml(path)
    expected = published(path.stem.removeprefix("finetune_"))
    found = {
        name: getattr(part, name)
        for name in expected
        for part in (recipe.training, recipe.fine_tuning, recipe)
        if hasattr(part, name)
    }
    assert found == expected


def test_every_row_of_the_table_has_its_file() -> None:
    assert {path.stem.removeprefix("finetune_") for path in CONFIGS} == set(CORPUS)
    for name in CORPUS:
        assert published(name)


@by_config
def test_what_the_text_says_of_all_is_in_every_file(path: Path) -> None:
    recipe = FineTuneRecipe.from_yaml(path)
    training = recipe.training
    assert recipe.corpus == CORPUS[path.stem.removeprefix("finetune_")]
    assert recipe.seeds == (43, 44, 45)
    assert (training.schedule, training.min_learning_rate, training.clip_norm) == ("cosine_under_warmup", 1e-7, None)
    assert training.ema_decay is None and training.accumulation == 1 and training.base_learning_rate is None
    if training.optimiser == "adamw":
        assert (training.betas, training.weight_decay, training.amsgrad) == ((0.9, 0.95), 1e-4, True)
    else:
        assert (training.momentum, training.weight_decay) == (0.9, 0.0)
    assert not recipe.fine_tuning.compat_keep_marked


@by_config
def test_the_input_length_is_that_of_the_corpus(path: Path) -> None:
    recipe = FineTuneRecipe.from_yaml(path)
    frames = recipe.fine_tuning.dur_frames
    assert frames is None or frames == round(CORPORA[recipe.corpus].unit_s * 100) + 1


def test_the_file_to_copy_says_what_the_command_does_by_itself() -> None:
    recipe = FineTuneRecipe.from_yaml(ROOT / "train" / "configs" / "own_labels.yaml")
    output_dir = recipe.training.output_dir
    assert recipe == replace(FineTuneRecipe(), training=replace(OWN_TRAINING, precision="bf16", output_dir=output_dir))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpus: esc51", "no corpus is called 'esc51'"),
        ("seeds: 43", "seeds is a list of whole numbers"),
        ("fine_tuning: 3", "fine_tuning is a group"),
        ("fine_tuning: {training_mask: 1.0}", "training_mask is a share"),
        ("fine_tuning: {freq_mask: -1}", "freq_mask must be at least 0"),
        ("fine_tuning: {freq_mask: 900}", "freq_mask must be at most 80, all mels, not 900"),
        ("fine_tuning: {mixup_alpha: .nan}", "mixup_alpha must be at least 0"),
        ("learning_rate: -1", "learning_rate must be above 0, not -1"),
        ("learning_rate: .inf", "learning_rate must be above 0, not inf"),
        ("weight_decay: -2", "weight_decay must be at least 0, not -2"),
        ("warmup_epochs: -1", "warmup_epochs must be at least 0"),
        ("samples_per_epoch: -5", "samples_per_epoch must be at least 0"),
        ("fine_tuning: {dur_frames: 0}", "dur_frames must be at least 2"),
        ("fine_tuning: {mixup: 0.5}", "unknown setting 'mixup'"),
        ("optimiser: adam", "optimiser is one of"),
    ],
)
def test_settings_that_cannot_work_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"epochs: 1\n{text}\n")
    with pytest.raises(TrainingError, match=message):
        FineTuneRecipe.from_yaml(tmp_path / "recipe.yaml")


UNITS = {
    "esc50": "esc50",
    "us8k": "urbansound8k",
    "spcv2": "speech_commands",
    "vc1": "voxceleb1",
    "voxforgevf": "voxforge",
    "cremad": "crema_d",
    "gtzan": "gtzan",
    "nsynth": "nsynth",
    "as20kas": "audioset",
    "fsd50k": "fsd50k",
}


@pytest.mark.parametrize("name", UNITS)
def test_corpora_are_cut_divided_and_scored_as_published(name: str) -> None:
    row, corpus = table_row("7.1", name), CORPORA[UNITS[name]]
    assert corpus.unit_s == float(row["unit s"])
    assert bool(corpus.folds) == ("fold" in row["folds"])
    assert corpus.multi_label == row["metric"].startswith("mAP")
    if name == "as20kas":
        assert CORPORA["audioset_balanced"].unit_s == corpus.unit_s


def test_linear_evaluation_has_the_published_numbers() -> None:
    text = specification().split("### 7.2")[1].split("\n### ")[0]
    config = LinearConfig()
    for words in (
        f"Adam lr {config.learning_rate:.0e}".replace("e-05", "e-5"),
        f"weight decay {config.weight_decay:.0e}".replace("e-08", "e-8"),
        f"batch min({config.batch_size}, n), up to {config.epochs} epochs",
        f"patience {config.patience} epochs",
        f"random {config.valid_share:.0%}".replace("%", " %"),
    ):
        assert words in text
