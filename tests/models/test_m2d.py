"""M2D's models as transformers models: saving, opening, lengths, precision, and what they refuse."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoModelForPreTraining

from mmret.errors import ModelFormatError
from mmret.models import (
    M2DConfig,
    M2DFeatures,
    M2DForAudioClassification,
    M2DForPreTraining,
    M2DModel,
    WeightedLayers,
)
from mmret.models.m2d_vit import sincos_positions

SMALL = {"input_size": (80, 64), "embed_dim": 32, "depth": 2, "num_heads": 2}
PREDICTOR = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}


@pytest.fixture
def log_mel() -> torch.Tensor:
    return torch.randn(2, 1, 80, 64, generator=torch.Generator().manual_seed(0))


def test_a_saved_encoder_opens_by_auto_model_with_the_same_numbers(tmp_path, log_mel):
    model = M2DModel(M2DConfig(**SMALL, norm_mean=-6.0)).eval()
    model.save_pretrained(tmp_path)
    opened = AutoModel.from_pretrained(tmp_path)
    assert isinstance(opened, M2DModel)
    assert opened.config.input_size == (80, 64)
    assert AutoConfig.from_pretrained(tmp_path).grid_size == (5, 4)
    assert (tmp_path / "model.safetensors").is_file()
    torch.testing.assert_close(opened(log_mel).last_hidden_state, model(log_mel).last_hidden_state, rtol=0, atol=0)


def test_a_pretraining_folder_opens_whole_or_as_an_encoder_without_a_warning(tmp_path, log_mel, caplog):
    model = M2DForPreTraining(M2DConfig(**SMALL, **PREDICTOR, offline_task="tags", offline_dim=3)).eval()
    model.save_pretrained(tmp_path)
    whole = AutoModelForPreTraining.from_pretrained(tmp_path)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(whole.state_dict()[name], weight, rtol=0, atol=0)
    with caplog.at_level(logging.WARNING):
        encoder = AutoModel.from_pretrained(tmp_path)
    assert not caplog.records
    torch.testing.assert_close(encoder.encode_log_mel(log_mel)[-1], model.encode_log_mel(log_mel)[-1])


def test_a_classifier_starts_from_an_encoder_folder_and_opens_by_auto_model(tmp_path, log_mel):
    encoder = M2DModel(M2DConfig(**SMALL)).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    classifier = M2DForAudioClassification.from_pretrained(tmp_path / "encoder", num_labels=3).eval()
    torch.testing.assert_close(classifier.m2d.state_dict(), encoder.state_dict())
    assert classifier.head.linear.weight.abs().max() < 1e-3
    torch.testing.assert_close(classifier.head.norm.running_var, torch.ones(160))
    classifier.save_pretrained(tmp_path / "classifier")
    opened = AutoModelForAudioClassification.from_pretrained(tmp_path / "classifier").eval()
    torch.testing.assert_close(opened(log_mel).logits, classifier(log_mel).logits)


def test_positions_statistics_and_target_do_not_train_even_after_opening(tmp_path):
    model = M2DForPreTraining(M2DConfig(**SMALL, **PREDICTOR))
    model.save_pretrained(tmp_path)
    for network in (model, M2DForPreTraining.from_pretrained(tmp_path)):
        frozen = {name.partition(".")[0] for name, weight in network.named_parameters() if not weight.requires_grad}
        assert frozen == {"pos_embed", "norm_stats", "decoder_pos_embed", "target_blocks", "target_norm"}


def test_a_new_model_holds_the_fixed_tables_and_a_target_of_its_own():
    model = M2DForPreTraining(M2DConfig(**SMALL, **PREDICTOR))
    torch.testing.assert_close(model.pos_embed.detach(), sincos_positions((5, 4), 32))
    torch.testing.assert_close(model.decoder_pos_embed.detach(), sincos_positions((5, 4), 16))
    assert not torch.equal(model.blocks[0].mlp.fc1.weight, model.target_blocks[0].mlp.fc1.weight)
    model.update_target(0.0)
    torch.testing.assert_close(model.target_blocks.state_dict(), model.blocks.state_dict())


@pytest.mark.parametrize("frames", [16, 63, 64, 65, 128, 200])
def test_any_length_gives_one_column_for_sixteen_frames_begun(frames):
    features = M2DFeatures(M2DModel(M2DConfig(**SMALL)), "stacked")
    assert features.features(torch.zeros(1, 1, 80, frames)).shape == (1, -(-frames // 16), 160)


def test_a_batch_gives_what_each_clip_gives_alone(log_mel):
    features = M2DFeatures(M2DModel(M2DConfig(**SMALL)).eval())
    together = features.features(log_mel)
    torch.testing.assert_close(together[:1], features.features(log_mel[:1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 80, 64), "need"), ((1, 1, 40, 64), "80"), ((1, 1, 80, 8), "no patch"), ((1, 1, 80, 96), "6")],
)
def test_input_of_a_wrong_shape_is_refused_in_words(shape, words):
    with pytest.raises(ValueError, match=words):
        M2DModel(M2DConfig(**SMALL))(torch.zeros(shape))


def test_autocast_training_stays_near_float32(log_mel):
    model = M2DForPreTraining(M2DConfig(**SMALL, **PREDICTOR))
    full = model(log_mel, generator=torch.Generator().manual_seed(1)).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(log_mel, generator=torch.Generator().manual_seed(1)).loss
    half.backward()
    assert half.dtype == torch.float32
    assert abs(float(half) - float(full)) < 0.05
    assert all(torch.isfinite(w.grad).all() for w in model.parameters() if w.grad is not None)


def test_a_model_in_bfloat16_runs(log_mel):
    model = M2DModel(M2DConfig(**SMALL)).to(torch.bfloat16)
    assert model(log_mel.bfloat16()).last_hidden_state.isfinite().all()


def test_labels_of_both_kinds_give_a_loss(log_mel):
    model = M2DForAudioClassification(M2DConfig(**SMALL, num_labels=3))
    assert model(log_mel, labels=torch.tensor([0, 2])).loss.isfinite()
    assert model(log_mel, labels=torch.eye(3)[:2]).loss.isfinite()


@pytest.mark.parametrize(
    "change",
    [
        {"embed_dim": 10**9},
        {"depth": 0},
        {"depth": 10**7},
        {"embed_dim": "768"},
        {"embed_dim": 30},
        {"num_heads": 5},
        {"input_size": (80, 10**9)},
        {"input_size": (80,)},
        {"input_size": (8, 64)},
        {"patch_size": (0, 16)},
        {"mlp_ratio": 1e9},
        {"token_loss": "l1"},
        {"offline_task": "distil"},
    ],
)
def test_a_configuration_of_absurd_sizes_is_refused_before_anything_is_built(change, tmp_path):
    settings = M2DConfig(**SMALL).to_dict() | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises((ModelFormatError, TypeError), match=next(iter(change))):
        AutoConfig.from_pretrained(tmp_path)


def test_a_sum_over_layers_begins_as_their_mean_and_learns_its_weights():
    layers = [torch.full((2, 3, 4), float(number)) for number in range(4)]
    summed = WeightedLayers(4)
    torch.testing.assert_close(summed(layers), torch.full((2, 3, 4), 1.5))
    summed.weights.data[3] = 100.0
    torch.testing.assert_close(summed(layers), layers[3])
    summed(layers).sum().backward()
    assert summed.weights.grad is not None
    with pytest.raises(ValueError, match="3 layers were given, weights are for 4"):
        summed(layers[:3])
