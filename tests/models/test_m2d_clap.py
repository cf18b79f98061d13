"""M2D-CLAP as a transformers model: both towers, saving, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel, BertConfig

from mmret.errors import ModelFormatError
from mmret.models import M2DClapConfig, M2DClapForPreTraining, M2DClapModel, M2DConfig

AUDIO = {"input_size": (80, 64), "embed_dim": 32, "depth": 1, "num_heads": 2}
AUDIO |= {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
TEXT = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
IDS = torch.tensor([[1, 5, 9, 2, 0, 0], [1, 7, 2, 0, 0, 0]])
ATTENTION = (IDS != 0).long()


def config(**changes) -> M2DClapConfig:
    settings = {"text_config": TEXT, "text_dim": 24, "text_projector": "linear", "audio_projector": "semantic"}
    return M2DClapConfig(audio_config=M2DConfig(**AUDIO), **settings | changes)


def test_both_towers_give_unit_vectors_of_one_width():
    model = M2DClapModel(config()).eval()
    audio = model.get_audio_features(torch.randn(2, 1, 80, 150) * 4 - 7).pooler_output
    text = model.get_text_features(IDS, ATTENTION).pooler_output
    assert audio.shape == text.shape == (2, 32)
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(2))


def test_a_saved_model_opens_by_auto_model_with_the_same_numbers(tmp_path):
    model = M2DClapModel(config()).eval()
    model.save_pretrained(tmp_path)
    opened = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(opened, M2DClapModel)
    log_mel = torch.randn(2, 1, 80, 100)
    expected, actual = model(log_mel, IDS, ATTENTION, return_loss=True), opened(log_mel, IDS, ATTENTION, True)
    torch.testing.assert_close(actual.logits_per_audio, expected.logits_per_audio)
    torch.testing.assert_close(actual.loss, expected.loss)
    torch.testing.assert_close(opened.state_dict(), model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_padding_does_not_change_a_caption(pooling):
    model = M2DClapModel(config(text_pooling=pooling)).eval()
    padded = model.embed_text(IDS[1:], ATTENTION[1:])
    torch.testing.assert_close(padded, model.embed_text(IDS[1:, :3], ATTENTION[1:, :3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("projector", ["mean", "mlp", "semantic"])
def test_a_joint_training_folder_opens_for_use(projector, tmp_path):
    model = M2DClapForPreTraining(config(text_config=None, audio_projector=projector)).eval()
    step = model(torch.randn(2, 1, 80, 64), torch.randn(2, 24), generator=torch.Generator().manual_seed(0))
    step.loss.backward()
    assert model.text_proj.weight.grad.abs().sum() > 0
    model.save_pretrained(tmp_path)
    opened = M2DClapModel.from_pretrained(tmp_path)
    for name, weight in opened.state_dict().items():
        torch.testing.assert_close(weight, model.state_dict()[name])


def test_without_captions_the_contrastive_loss_is_zero():
    model = M2DClapForPreTraining(config(text_config=None))
    step = model(torch.randn(2, 1, 80, 64), generator=torch.Generator().manual_seed(0))
    assert float(step.contrastive_loss) == 0
    torch.testing.assert_close(step.loss, step.online_loss)


def test_a_model_without_text_encoder_says_what_to_do():
    model = M2DClapModel(config(text_config=None))
    with pytest.raises(ModelFormatError, match="embed_text_vectors"):
        model.get_text_features(IDS, ATTENTION)


def test_the_text_encoder_keeps_its_own_initialisation():
    model = M2DClapModel(config(text_config=BertConfig(**TEXT)))
    assert model.text_model.encoder.layer[0].intermediate.dense.weight.std() < 0.03
    assert float(model.logit_scale) == pytest.approx(2.659, abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"semantic_depth": 10**6},
        {"text_dim": 10**9},
        {"text_projector": "identity"},
        {"text_config": TEXT | {"num_hidden_layers": 10**6}},
        {"text_pooling": "max"},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change):
    with pytest.raises(ModelFormatError):
        config(**change)
