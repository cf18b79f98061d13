"""Hostile, damaged and unusual checkpoint files: each is refused in words, and nothing of it runs."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from mmret.errors import ModelFormatError
from mmret.models import M2DConfig, M2DForPreTraining, M2DModel, convert_checkpoint
from mmret.models.m2d_checkpoint import load_m2d_checkpoint, load_m2d_pretraining
from mmret.models.m2d_container import parse_name

SIZES = {"input_size": (80, 64), "embed_dim": 16, "depth": 2, "num_heads": 2}
PREDICTOR = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return M2DModel(M2DConfig(**SIZES)).state_dict()


def write(folder: Path, content: object, name: str = "checkpoint-1.pth") -> Path:
    path = folder / name
    torch.save(content, path)
    return path


class RunsCode:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, weights):
    witness = tmp_path / "was_here"
    for content in ({"model": weights, "args": RunsCode(witness)}, RunsCode(witness)):
        with pytest.raises(ModelFormatError, match="could run code"):
            load_m2d_checkpoint(write(tmp_path, content), num_heads=2)
    legacy = tmp_path / "legacy.pth"
    legacy.write_bytes(pickle.dumps(RunsCode(witness)))
    with pytest.raises(ModelFormatError):
        load_m2d_checkpoint(legacy, num_heads=2)
    assert not witness.exists()


def test_a_namespace_may_hold_only_plain_values(tmp_path, weights):
    arguments = argparse.Namespace(input_size=[80, 64], counts=collections.Counter("aa"))
    with pytest.raises(ModelFormatError, match="Counter"):
        load_m2d_checkpoint(write(tmp_path, {"model": weights, "args": arguments}), num_heads=2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, weights, share):
    path = write(tmp_path, weights)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelFormatError, match=r"checkpoint-1\.pth"):
        load_m2d_checkpoint(path, num_heads=2)


def test_a_missing_file_a_folder_and_a_text_file_are_refused(tmp_path):
    text = tmp_path / "notes.pth"
    text.write_text("not a checkpoint at all")
    for path in (tmp_path / "absent.pth", tmp_path, text):
        with pytest.raises(ModelFormatError, match=path.name):
            load_m2d_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2, 3], "list"),
        ({}, "no tensors"),
        ({"model": 3}, "int"),
        ({"state": {"a": torch.zeros(2)}}, "no tensors"),
        ({"conv1.weight": torch.zeros(2, 2)}, "no M2D checkpoint"),
        ({"model": {"backbone.conv1.weight": torch.zeros(2, 2)}}, "no M2D checkpoint"),
        ({"blocks.0.attn.q_bias": torch.zeros(2)}, "original MSM-MAE"),
    ],
)
def test_a_dictionary_without_an_encoder_is_refused(tmp_path, content, words):
    with pytest.raises(ModelFormatError, match=words):
        load_m2d_checkpoint(write(tmp_path, content))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("norm.weight", torch.full((16,), torch.nan), "not finite"),
        ("norm.weight", torch.ones(16, dtype=torch.int8), "quantised"),
        ("norm.weight", torch.ones(17), "norm.weight"),
        ("cls_token", torch.zeros(16), "cls_token"),
        ("blocks.999999999.mlp.fc1.weight", torch.ones(4), "depth"),
        ("blocks.5.mlp.fc1.weight", torch.ones(4), "blocks"),
        ("pos_embed", torch.zeros(1, 20, 16), "positions"),
        ("patch_embed.proj.weight", torch.zeros(16, 1, 100, 16), "positions"),
        ("unexpected.weight", torch.zeros(3), "unexpected"),
        ("norm_stats", torch.zeros(3), "norm_stats"),
        ("patch_embed.proj.weight", torch.zeros(0, 1, 16, 16), "patch_embed"),
        ("blocks.0.mlp.fc1.weight", torch.ones(64), "fc1"),
        ("audio_proj.sem_token", torch.ones(16), "sem_token"),
        ("text_proj.weight", torch.tensor(1.0), "text_proj"),
        ("norm.weight", torch.zeros(16, device="meta"), "plain tensor"),
        ("norm.weight", torch.quantize_per_tensor(torch.zeros(16), 0.1, 0, torch.qint8), "plain tensor"),
    ],
)
def test_a_wrong_tensor_is_named(tmp_path, weights, key, value, words):
    with pytest.raises(ModelFormatError, match=words):
        load_m2d_checkpoint(write(tmp_path, weights | {key: value}), num_heads=2)


def test_a_small_file_that_claims_terabytes_is_refused(tmp_path, weights):
    huge = torch.zeros(1).expand(16, 10**11)
    with pytest.raises(ModelFormatError, match="more than the file holds"):
        load_m2d_checkpoint(write(tmp_path, weights | {"norm.weight": huge}), num_heads=2)


def test_a_compressed_archive_is_refused(tmp_path, weights):
    plain, packed = write(tmp_path, weights), tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ModelFormatError, match="compressed"):
        load_m2d_checkpoint(packed, num_heads=2)


def test_head_counts_that_no_shape_tells_are_asked_for(tmp_path, weights):
    path = write(tmp_path, weights)
    for heads in (None, 3):
        with pytest.raises(ModelFormatError, match="num_heads"):
            load_m2d_checkpoint(path, num_heads=heads)


def test_half_precision_weights_open_in_float32(tmp_path, weights):
    model = load_m2d_checkpoint(write(tmp_path, {key: value.half() for key, value in weights.items()}), num_heads=2)
    assert model.dtype == torch.float32


def test_weights_in_eight_bits_are_tested_like_others(tmp_path, weights):
    short = {"norm.weight": weights["norm.weight"].to(torch.float8_e4m3fn)}
    assert load_m2d_checkpoint(write(tmp_path, weights | short), num_heads=2).dtype == torch.float32
    short = {"norm.weight": torch.full((16,), torch.nan).to(torch.float8_e4m3fn)}
    with pytest.raises(ModelFormatError, match="not finite"):
        load_m2d_checkpoint(write(tmp_path, weights | short), num_heads=2)


@pytest.mark.parametrize("cut", [30, 100, 200, 300])
def test_an_old_file_that_ends_within_its_pickle_is_refused(tmp_path, weights, cut):
    path = tmp_path / "old.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    for end in range(cut, cut + 12):
        short = tmp_path / "short.pth"
        short.write_bytes(path.read_bytes()[:end])
        with pytest.raises(ModelFormatError, match=r"short\.pth"):
            load_m2d_checkpoint(short, num_heads=2)


def test_conversion_leaves_nothing_behind_when_it_fails_and_never_overwrites(tmp_path, weights, monkeypatch):
    path, out = write(tmp_path, weights), tmp_path / "out" / "model"
    monkeypatch.setattr(M2DModel, "save_pretrained", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        convert_checkpoint(path, out, num_heads=2)
    assert list(out.parent.iterdir()) == []
    monkeypatch.undo()
    assert sorted(entry.name for entry in convert_checkpoint(path, out, num_heads=2).iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    with pytest.raises(ModelFormatError, match="already exists"):
        convert_checkpoint(path, out, num_heads=2)


@pytest.mark.parametrize(
    ("name", "frames", "rate", "letter"),
    [
        ("m2d_vit_base-80x608p16x16-221006-mr7/checkpoint-300.pth", 608, None, None),
        ("m2d_as_vit_base-80x1001p16x16p32k-240413_AS-FT_enconly/weights.pth", 1001, 32_000, None),
        ("m2d_clap_vit_base-80x1001p16x16p16kpBpTI-2025/checkpoint-30.pth", 1001, 16_000, "B"),
        ("m2d_s_vit_base-80x608p80x2-230220/checkpoint-1000.pth", 608, None, None),
        ("downloads/m2d_vit_base-80x200p16x4-230529.pth", 200, None, None),
        ("downloads/checkpoint-300.pth", None, None, None),
    ],
)
def test_names_are_read_as_published(name, frames, rate, letter):
    hints = parse_name(Path(name))
    assert (hints.frames, hints.sample_rate, hints.text_encoder) == (frames, rate, letter)


@pytest.mark.parametrize(
    ("folder", "frames", "rate"),
    [("m2d_vit_base-80x70p16x16p32k-1", 70, 32_000), ("m2d_vit_base-80x608p16x16-1", 64, 16_000), ("mine", 64, 16_000)],
)
def test_shapes_decide_where_the_folder_name_disagrees(tmp_path, weights, folder, frames, rate):
    (tmp_path / folder).mkdir()
    config = load_m2d_checkpoint(write(tmp_path / folder, weights), num_heads=2).config
    assert (config.input_size, config.sample_rate) == ((80, frames), rate)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prediction_target": "pixels", "token_loss": "mse", "standardise_target": False},
        {"offline_task": "distil", "offline_dim": 80},
        {"offline_task": "tags", "offline_dim": 7},
    ],
)
def test_a_pretraining_checkpoint_opens_whole_for_further_training(tmp_path, changes):
    model = M2DForPreTraining(M2DConfig(**SIZES, **PREDICTOR, **changes))
    path = write(tmp_path, {"model": model.state_dict(), "epoch": 3})
    opened = load_m2d_pretraining(path, num_heads=2, decoder_num_heads=2)
    torch.testing.assert_close(opened.state_dict(), model.state_dict())
    assert opened.config.offline_task == model.config.offline_task
    assert all(weight.requires_grad for name, weight in opened.named_parameters() if name.startswith("blocks."))
