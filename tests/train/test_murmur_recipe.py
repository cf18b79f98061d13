"""The heart murmur recipe: its configuration against the specification, and two steps of it on a made-up CirCor."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import AutoModelForAudioClassification

from mmret.data.circor import MURMURS
from mmret.errors import TrainingError
from mmret.models import M2DConfig, M2DModel
from mmret.models.fine_tuning import FineTuneConfig
from mmret.training import TrainingConfig, read_log
from mmret.training.config import build, read_settings
from tests.conftest import ROOT, SHARED, parity_dir
from tests.heart_sounds import write_circor
from tests.train.test_pretraining_recipes import run_recipe

CONFIG = ROOT / "train" / "configs" / "murmur.yaml"
SPECIFICATION = SHARED / "specs" / "m2d.md"
PATIENTS = {f"{number}": MURMURS[number % 3] for number in range(1000, 1024)}


def settings() -> tuple[dict, FineTuneConfig, TrainingConfig]:
    found = read_settings(CONFIG)
    own = {name: found.pop(name) for name in ("split", "loss")}
    return own, build(FineTuneConfig, found.pop("fine_tuning")), build(TrainingConfig, found)


def recipe_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("murmur_recipe", ROOT / "train" / "murmur.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def specified() -> str:
    """Section 8.2 of the specification."""
    if not SPECIFICATION.is_file():
        pytest.skip(f"no specification at {SPECIFICATION}")
    text = SPECIFICATION.read_text(encoding="utf-8")
    return text[text.index("### 8.2") : text.index("### 8.3")]


def column(text: str, row: str) -> str:
    """Cell of the M2D column of the table in section 8.2."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} "))
    return line.split("|")[2].strip()


def test_the_run_is_the_specified_one(specified: str) -> None:
    _, augmentation, run = settings()
    optimiser, rate = column(specified, "optimiser / lr").split()
    assert (run.optimiser, run.learning_rate) == (optimiser.lower(), float(rate))
    assert run.batch_size * run.accumulation == int(column(specified, "batch"))
    assert (augmentation.freq_mask, augmentation.time_mask) == (0, 0)
    assert column(specified, "freq/time mask") == "0/0"
    epochs, warmup, mixup = re.search(r"(\d+) epochs, warm-up (\d+), mixup (\d+), no RRC", specified).groups()
    assert (run.epochs, run.warmup_epochs, augmentation.mixup_alpha) == (int(epochs), int(warmup), float(mixup))
    assert not augmentation.resize_crop
    assert augmentation.freeze_patch_embed and augmentation.training_mask == 0
    assert column(specified, "other") == "patch embedding frozen, training_mask 0"
    frames = re.search(r"stacked features of (\d+) frames", specified)[1]
    assert augmentation.dur_frames == int(frames)
    assert run.seed == int(re.search(r"M2D (\d+)\.\.", specified)[1])


def test_loss_and_schedule_are_the_specified_ones(specified: str) -> None:
    own, _, run = settings()
    assert own["loss"] == "softmax_twice" and "softmax twice" in specified
    assert (run.schedule, run.min_learning_rate, run.momentum, run.weight_decay) == (
        "cosine_under_warmup",
        1e-7,
        0.9,
        0.0,
    )
    assert run.clip_norm is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """The made-up corpus and two steps of the recipe on a tiny M2D."""
    root = tmp_path_factory.mktemp("murmur")
    data = write_circor(root / "circor", PATIENTS)
    torch.manual_seed(0)
    M2DModel(M2DConfig(input_size=(80, 208), embed_dim=16, depth=1, num_heads=2)).save_pretrained(root / "m2d")
    # the published configuration with a drawn split and two steps in place of fifty epochs
    words = ["--split", "0", "--epochs", "0", "--steps", "2", "--warmup-epochs", "0", "--batch-size", "8"]
    where = ["--data", str(data), "--start-from", str(root / "m2d"), "--output-dir", str(root / "run")]
    return data, root / "run", run_recipe("murmur.py", str(CONFIG), *where, *words, "--log-every", "1")


def test_two_steps_leave_a_classifier_and_a_log(run) -> None:
    _, folder, ended = run
    assert ended.returncode == 0, ended.stderr
    entries = read_log(folder / "log.jsonl")
    assert sum("loss" in entry for entry in entries) >= 1
    classifier = AutoModelForAudioClassification.from_pretrained(folder / "best")
    assert list(classifier.config.id2label.values()) == list(MURMURS)
    assert classifier.config.input_size == (80, 501)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("softmax_twice", "wce_2024_softmax_first"), ("plain", "wce_plain"), ("stressed", "wce_2025")],
)
def test_losses_equal_reference(name: str, expected: str) -> None:
    pieces = np.load(parity_dir("m2d") / "finetune_pieces.npz")
    logits, targets = (torch.from_numpy(pieces[key]).float() for key in ("wce_logits", "wce_targets"))
    counts = torch.bincount(torch.from_numpy(pieces["wce_labels"]).long()).float()
    assert recipe_module().murmur_loss(name, counts)(logits, targets).item() == pytest.approx(
        float(pieces[expected]), rel=1e-5
    )


def test_another_loss_is_refused() -> None:
    with pytest.raises(TrainingError, match="guess"):
        recipe_module().murmur_loss("guess", torch.ones(3))
