"""M2D-CLAP that starts from a pre-trained M2D, and leaves with the sentence encoder inside."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from mmret.data.log_mel_folder import write_list
from mmret.errors import ModelFormatError, TrainingError
from mmret.models import M2DClapModel, M2DConfig, M2DForPreTraining, M2DModel
from tests.conftest import ROOT
from tests.encoder.tiny_models import TEXT, bert_tokenizer
from tests.train.test_pretraining_recipes import TINY, tiny

SIZES = {"input_size": (80, 64), **TINY}
CAPTION_DIM = TEXT["hidden_size"]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """train/m2d_clap.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "train"))
    return importlib.import_module("m2d_clap")


@pytest.fixture
def m2d(tmp_path: Path) -> Path:
    """A pre-trained M2D, its normalisation unlike that of the log-mels."""
    torch.manual_seed(5)
    M2DForPreTraining(M2DConfig(norm_mean=-3.0, norm_std=2.0, **SIZES)).save_pretrained(tmp_path / "m2d")
    return tmp_path / "m2d"


@pytest.fixture
def text_encoder(tmp_path: Path) -> Path:
    """A sentence encoder of twenty words."""
    torch.manual_seed(6)
    BertModel(BertConfig(**TEXT)).save_pretrained(tmp_path / "text")
    bert_tokenizer().save_pretrained(tmp_path / "text")
    return tmp_path / "text"


@pytest.fixture
def train(recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs two steps that move nothing, as the learning rate is next to 0; returns the folder of the model."""
    generator = np.random.default_rng(0)
    names = [f"{number}.npy" for number in range(6)]
    for name in names:
        np.save(tmp_path / name, generator.standard_normal((80, 100)).astype(np.float32) - 8)
    write_list(tmp_path, names)
    np.savez(tmp_path / "captions.npz", **{name: generator.standard_normal((2, CAPTION_DIM)) for name in names})

    def run(*arguments: str) -> Path:
        config = str(ROOT / "train/configs/m2d_clap_mini.yaml")
        paths = ["--data-dir", tmp_path, "--vectors", tmp_path / "captions.npz", "--output-dir", tmp_path / "run"]
        settings = ["--steps", "2", "--batch-size", "3", "--base_learning_rate", "1e-30", "--precision", "no"]
        sizes = [*tiny("model.audio_config"), "--model.audio_config.input_size", "[80, 64]"]
        monkeypatch.setattr(sys, "argv", [config, config, *map(str, paths), *settings, *sizes, *arguments])
        recipe.main()
        return tmp_path / "run" / "model"

    return run


def test_the_audio_tower_begins_as_the_pretrained_one(train, m2d: Path) -> None:
    opened = M2DClapModel.from_pretrained(train("--start-from", str(m2d)))
    expected = M2DModel.from_pretrained(m2d).state_dict()
    torch.testing.assert_close(opened.audio_model.state_dict(), expected, rtol=0, atol=1e-20)
    assert opened.config.audio_config.norm_mean == -3.0


def test_without_a_start_the_tower_is_new(train, m2d: Path) -> None:
    opened = M2DClapModel.from_pretrained(train())
    expected = M2DModel.from_pretrained(m2d)
    assert not torch.equal(opened.audio_model.blocks[0].attn.qkv.weight, expected.blocks[0].attn.qkv.weight)
    assert opened.config.audio_config.norm_mean == pytest.approx(-8, abs=0.1)


@pytest.mark.parametrize(("name", "size"), [("embed_dim", 64), ("input_size", (80, 128)), ("depth", 2)])
def test_other_sizes_are_refused_by_name(recipe: ModuleType, m2d: Path, name: str, size: object) -> None:
    with pytest.raises(TrainingError, match=rf"{name} .*--model.audio_config.{name}"):
        recipe.start_config(m2d, M2DConfig(**SIZES | {name: size}))


def test_a_folder_of_another_kind_is_refused(recipe: ModuleType, text_encoder: Path) -> None:
    with pytest.raises(TrainingError, match="is a bert model; start from RUN/model"):
        recipe.start_config(text_encoder, M2DConfig(**SIZES))


def test_the_sentence_encoder_travels_inside(train, text_encoder: Path) -> None:
    folder = train("--text-encoder", str(text_encoder))
    opened = M2DClapModel.from_pretrained(folder).eval()
    tokens = bert_tokenizer()(["a dog barks"], return_tensors="pt")
    tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    sentence = BertModel.from_pretrained(text_encoder).eval()(**tokens).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(opened.embed_text(**tokens), opened.embed_text_vectors(sentence))
    assert (folder / "tokenizer.json").is_file()


def test_a_sentence_encoder_of_another_width_is_refused(recipe: ModuleType, text_encoder: Path) -> None:
    with pytest.raises(TrainingError, match="16 wide, those of --vectors are 12 wide"):
        recipe.open_text(str(text_encoder), 12)


def test_a_mistyped_sentence_encoder_is_no_question_to_the_network(recipe: ModuleType) -> None:
    with pytest.raises(ModelFormatError, match="nope: no such folder, and no hub id"):
        recipe.open_text("nope", 12)
