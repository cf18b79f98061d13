"""ConvClap, the architecture of mmret-mini."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from mmret.errors import ModelFormatError
from mmret.models.conv_clap import ConvClapConfig, ConvClapModel
from mmret.models.conv_clap_heads import ConvClapForAudioClassification

TEXT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
TINY = {
    "channels": (4, 4, 4, 4, 6),
    "frame_dim": 12,
    "teacher_dim": 8,
    "num_tags": 7,
    "tag_hidden_dim": 8,
    "head_hidden_dim": 8,
    "projection_dim": 16,
    "top_tags": 3,
}


@pytest.fixture
def model() -> ConvClapModel:
    torch.manual_seed(0)
    model = ConvClapModel(ConvClapConfig(**TINY, text_config=TEXT)).eval()
    model.tag_vectors.copy_(torch.nn.functional.normalize(torch.randn(7, 16), dim=-1))
    return model


def test_a_step_of_the_tower_stands_for_sixteen_frames(model):
    assert model.tower(torch.zeros(2, 1, 80, 128)).shape == (2, 8, 12)


def test_pitch_is_not_averaged_away(model):
    model.tower.layers = torch.nn.Identity()
    last_map = torch.randn(1, 6, 5, 4)  # channels, rows of frequency, steps
    assert (model.tower(last_map) - model.tower(last_map.flip(2))).abs().mean() > 1e-2


def test_audio_and_text_vectors_have_length_one(model):
    audio = model.get_audio_features(torch.randn(3, 1, 80, 64)).pooler_output
    text = model.get_text_features(torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.int64)).pooler_output
    torch.testing.assert_close(audio.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(1))


def test_padding_does_not_move_a_text_vector(model):
    alone = model.get_text_features(torch.tensor([[4, 5]]), torch.tensor([[1, 1]])).pooler_output
    padded = model.get_text_features(torch.tensor([[4, 5, 0, 0]]), torch.tensor([[1, 1, 0, 0]])).pooler_output
    torch.testing.assert_close(alone, padded)


def test_the_tag_vector_is_the_weighted_mean_of_the_strongest_tags(model):
    logits = torch.tensor([[3.0, -9.0, 1.0, -9.0, 0.0, -9.0, -9.0]])
    weights = logits[0, [0, 2, 4]].sigmoid() ** model.config.tag_power
    expected = torch.nn.functional.normalize((weights[:, None] * model.tag_vectors[[0, 2, 4]]).sum(dim=0), dim=0)
    torch.testing.assert_close(model.tag_vector(logits)[0], expected)


def test_a_saved_model_opens_by_auto_model_with_the_same_vectors(model, tmp_path):
    model.save_pretrained(tmp_path)
    log_mel = torch.randn(2, 1, 80, 64)
    again = AutoModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(
        again.get_audio_features(log_mel).pooler_output, model.get_audio_features(log_mel).pooler_output
    )


@pytest.mark.parametrize("change", [{"num_tags": 10**9}, {"frame_dim": 0}, {"channels": ()}, {"channels": (4, "many")}])
def test_a_configuration_of_absurd_sizes_is_refused_before_anything_is_built(change):
    with pytest.raises(ModelFormatError, match=next(iter(change))):
        ConvClapConfig(**TINY | change)


def test_a_classifier_opens_as_an_encoder_without_a_report(tmp_path: Path):
    classifier = ConvClapForAudioClassification(ConvClapConfig(**TINY, num_labels=2))
    classifier.save_pretrained(tmp_path)
    encoder, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"] and not report["missing_keys"]
    weight = classifier.conv_clap.tower.to_frames.weight
    assert torch.equal(encoder.tower.to_frames.weight, weight)
