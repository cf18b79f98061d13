"""Every fine-tuning recipe runs two steps on a tiny model and a tiny corpus in the published layout."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModelForAudioClassification

from mmret.data.log_mel_folder import write_list
from mmret.errors import DataLayoutError, TrainingError
from mmret.models import M2DConfig, M2DModel
from mmret.tasks.fine_tune_recipe import FineTuneRecipe
from tests.conftest import ROOT
from tests.data.made_up_corpora import TREES

CONFIGS = sorted((ROOT / "train" / "configs").glob("finetune_*.yaml"))
RUN = [
    "--epochs",
    "0",
    "--steps",
    "2",
    "--warmup_epochs",
    "0",
    "--batch_size",
    "2",
    "--seeds",
    "[43]",
    "--log_every",
    "1",
]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finetune_recipe", ROOT / "train" / "finetune.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m2d")
    torch.manual_seed(0)
    M2DModel(M2DConfig(input_size=(80, 96), embed_dim=16, depth=1, num_heads=2)).save_pretrained(folder)
    return folder


def corpus(name: str, root: Path) -> Path:
    """A made-up tree whose recordings are a second of noise."""
    TREES[name][0](root)
    generator = np.random.default_rng(0)
    for path in sorted(root.rglob("*")):
        if path.suffix in (".wav", ".flac") and path.is_file():
            soundfile.write(path, 0.1 * generator.standard_normal(16_000), 16_000)
    return root


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_two_steps_of_every_configuration(config: Path, recipe: ModuleType, encoder: Path, tmp_path: Path) -> None:
    name = FineTuneRecipe.from_yaml(config).corpus
    data = corpus(name, tmp_path / "data")
    folders = ["--model", str(encoder), "--data", str(data), "--output-dir", str(tmp_path / "run")]
    recipe.main([str(config), *folders, *RUN])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (metric, value), *_ = result["metrics"].items()
    assert 0 <= value <= 1
    assert metric == ("map" if name.startswith("audioset") else "accuracy")
    assert result["protocol"]["chosen_by"] == ("validation" if name in ("speech_commands", "voxceleb1") else "test")
    folds = ["1", "2"] if name == "esc50" else ["test"]
    assert result["protocol"]["test"] == folds
    trained = AutoModelForAudioClassification.from_pretrained(tmp_path / "run" / f"seed-43-{folds[0]}" / "best")
    before = M2DModel.from_pretrained(encoder)
    moved = not torch.equal(trained.m2d.blocks[0].mlp.fc1.weight, before.blocks[0].mlp.fc1.weight)
    assert moved
    same_patches = torch.equal(trained.m2d.patch_embed.proj.weight, before.patch_embed.proj.weight)
    assert same_patches == (name == "esc50")


def test_stored_log_mels_take_the_place_of_recordings(
    recipe: ModuleType, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = corpus("audioset", tmp_path / "data")
    stored = tmp_path / "log_mels"
    stored.mkdir()
    names = ["a/Y--4gqARaEJE.wav.npy", "abcdefghijk.wav.npy", "Y-0SdAVK79lg_30.000_40.000.flac.npy"]
    for name in names:
        (stored / name).parent.mkdir(exist_ok=True)
        np.save(stored / name, np.random.default_rng(1).normal(-7, 4, (1, 80, 1200)).astype(np.float32))
    write_list(stored, names)
    config = ROOT / "train" / "configs" / "finetune_as2m.yaml"
    folders = ["--model", str(encoder), "--data", str(data), "--output-dir", str(tmp_path / "run")]
    recordings = [path for path in data.glob("*_train_segments/**/*.*") if path.is_file()]
    assert len(recordings) == 3
    for path in recordings:  # they are not needed any more
        path.write_bytes(b"no sound")
    recipe.main([str(config), *folders, *RUN, "--log-mel-dir", str(stored)])
    assert (tmp_path / "run" / "result.json").is_file()
    write_list(stored, names[:2])
    recipe.main([str(config), *folders, *RUN, "--log-mel-dir", str(stored)])
    assert "1 of 3 training recordings have no log-mel" in capsys.readouterr().out
    write_list(stored, ["other.npy"])
    with pytest.raises(DataLayoutError, match="none of 3 recordings has a log-mel"):
        recipe.main([str(config), *folders, *RUN, "--log-mel-dir", str(stored)])


def test_a_configuration_without_a_corpus_is_refused(recipe: ModuleType, tmp_path: Path) -> None:
    config = ROOT / "train" / "configs" / "own_labels.yaml"
    with pytest.raises(TrainingError, match=r"own_labels\.yaml names no corpus; give --corpus, one of"):
        recipe.main([str(config), "--model", "mmret-mini", "--data", str(tmp_path)])
