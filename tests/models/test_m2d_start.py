"""Further pre-training begins with what fits, keeps its own normalisation, and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmret.errors import ModelFormatError, TrainingError
from mmret.models import M2DConfig, M2DForAudioClassification, M2DForPreTraining, M2DModel
from mmret.models.m2d_start import open_teacher, start_from

SIZES = {"input_size": (80, 64), "embed_dim": 32, "depth": 1, "num_heads": 2}
SIZES |= {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2}


def network(seed: int, **changes: object) -> M2DForPreTraining:
    torch.manual_seed(seed)
    return M2DForPreTraining(M2DConfig(**SIZES | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network(1, norm_mean=-3.0, norm_std=2.0).save_pretrained(tmp_path / "m2d")
    return tmp_path / "m2d"


def test_encoder_predictor_and_target_are_taken_and_the_normalisation_is_not(folder: Path):
    model, source = network(2, offline_task="distil", offline_dim=6), network(1).state_dict()
    own = model.offline_predictor.weight.clone()
    start_from(model, folder)
    weights = model.state_dict()
    assert all(torch.equal(weights[name], source[name]) for name in source if name != "norm_stats")
    assert weights["norm_stats"].tolist() == pytest.approx([-7.1, 4.2])
    assert torch.equal(model.offline_predictor.weight, own)


def test_an_encoder_alone_leaves_the_predictor_as_it_is(tmp_path: Path):
    torch.manual_seed(3)
    encoder = M2DModel(M2DConfig(**SIZES))
    encoder.save_pretrained(tmp_path / "encoder")
    model = network(4)
    decoder = model.decoder_embed.weight.clone()
    start_from(model, tmp_path / "encoder")
    assert torch.equal(model.blocks[0].attn.qkv.weight, encoder.blocks[0].attn.qkv.weight)
    assert torch.equal(model.decoder_embed.weight, decoder)


def test_a_published_file_is_a_start_and_a_teacher(tmp_path: Path):
    # head counts of published files are width / 64, and 16 heads go with a predictor of 512
    sizes = SIZES | {"embed_dim": 64, "num_heads": 1, "decoder_embed_dim": 384, "decoder_num_heads": 6}
    source = network(5, **sizes)
    path = tmp_path / "m2d_vit_tiny-80x64p16x16-240101" / "checkpoint-1.pth"
    path.parent.mkdir()
    torch.save({"model": source.state_dict()}, path)
    model = network(6, **sizes)
    start_from(model, path)
    assert torch.equal(model.target_norm.weight, source.target_norm.weight)
    assert torch.equal(model.decoder_pred.weight, source.decoder_pred.weight)
    teacher = open_teacher(path)
    assert torch.equal(teacher.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)


def test_other_sizes_are_refused_by_name(folder: Path):
    with pytest.raises(TrainingError, match=r"depth 1, this run 2.*--model\.depth"):
        start_from(network(0, depth=2), folder)


def test_a_folder_that_lacks_a_part_of_the_encoder_is_refused(folder: Path):
    weights = load_file(folder / "model.safetensors")
    del weights["norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFormatError, match=r"no norm\.weight"):
        start_from(network(0), folder)


def test_a_teacher_is_frozen_and_in_eval_mode(folder: Path):
    teacher = open_teacher(folder)
    assert not teacher.training
    assert not any(weight.requires_grad for weight in teacher.parameters())


def test_a_fine_tuned_file_is_no_teacher(tmp_path: Path):
    config = M2DConfig(**SIZES | {"embed_dim": 64, "num_heads": 1, "num_labels": 3})
    classifier = M2DForAudioClassification(config)
    weights = {f"module.ar.runtime.backbone.{n}": w for n, w in classifier.m2d.state_dict().items()}
    weights |= {
        "module.head.norm.running_mean": torch.zeros(320),
        "module.head.norm.running_var": torch.ones(320),
        "module.head.mlp.mlp.0.weight": torch.zeros(3, 320),
        "module.head.mlp.mlp.0.bias": torch.zeros(3),
    }
    path = tmp_path / "weights_ep1.pth"
    torch.save(weights, path)
    with pytest.raises(ModelFormatError, match="no plain M2D encoder"):
        open_teacher(path)
