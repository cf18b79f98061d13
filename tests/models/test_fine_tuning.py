"""The fine-tuning objective: classifiers on each kind of encoder, patch-out, and what augmentation changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForAudioClassification

from mmret.errors import ModelFormatError
from mmret.models import ConvClapModel, M2DClapModel, M2DConfig, M2DModel
from mmret.models.fine_tuning import FineTuneConfig, FineTuning, classifier_on
from mmret.models.m2d_patch_out import draw_marks, kept_tokens
from tests.encoder import tiny_models

LABELS = ["dog", "rain", "siren"]
M2D = M2DConfig(input_size=(80, 96), embed_dim=16, depth=1, num_heads=2)


def batch() -> dict[str, torch.Tensor]:
    waves = np.stack([tiny_models.sound(0.8, 16_000, seed=seed) for seed in range(3)])
    return {"waveform": torch.from_numpy(waves), "target": torch.eye(3)}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def objective(**settings: object) -> FineTuning:
    torch.manual_seed(0)
    config = FineTuneConfig(**settings)  # type: ignore[arg-type]
    return FineTuning(classifier_on(M2DModel(M2D), LABELS, config), config)


def test_the_loss_is_the_one_of_its_logits_divided_by_the_classes() -> None:
    plain = objective()
    torch.nn.init.normal_(plain.classifier.head.linear.weight)
    loss = plain.eval()(batch(), generator())["loss"]
    expected = torch.nn.functional.cross_entropy(plain.predict(batch()["waveform"]), torch.arange(3)) / 3
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    "settings",
    [{"mixup_alpha": 0.5}, {"freq_mask": 60, "time_mask": 60}, {"resize_crop": True}, {"training_mask": 0.5}],
    ids=lambda settings: next(iter(settings)),
)
def test_each_augmentation_changes_the_loss_and_is_drawn_from_the_generator(settings: dict[str, object]) -> None:
    augmented = objective(**settings)
    torch.nn.init.normal_(augmented.classifier.head.linear.weight)
    first, again = (augmented(batch(), generator())["loss"].item() for _ in range(2))
    other = augmented(batch(), torch.Generator().manual_seed(1))["loss"].item()
    assert first == again
    assert first != other


def test_what_does_not_train_stays() -> None:
    frozen = objective(freeze_patch_embed=True, training_mask=0.5, dur_frames=160)
    (group,) = frozen.parameter_groups()
    trained = {id(parameter) for parameter in group["params"]}
    names = {name for name, parameter in frozen.classifier.named_parameters() if id(parameter) not in trained}
    assert names == {"m2d.pos_embed", "m2d.norm_stats", "m2d.patch_embed.proj.weight", "m2d.patch_embed.proj.bias"}
    assert frozen.classifier.m2d.pos_embed.shape == (1, 51, 16)
    assert frozen.classifier.config.feature_dim == 16
    assert objective().classifier.config.feature_dim == 80


def test_patch_out_hears_only_the_kept_tokens() -> None:
    classifier = objective(training_mask=0.5).classifier.eval()
    log_mel = torch.randn(2, 1, 80, 80)
    marks = torch.zeros(2, 5, 5, dtype=torch.bool)
    marks[:, 3] = True
    kept = kept_tokens(marks)
    heard = classifier(log_mel, kept_tokens=kept).logits
    log_mel[:, :, 48:64] = 7.0  # the row that was taken out
    torch.testing.assert_close(classifier(log_mel, kept_tokens=kept).logits, heard)
    log_mel[:, :, 64:] = 7.0
    assert not torch.allclose(classifier(log_mel, kept_tokens=kept).logits, heard, atol=1e-6)


def test_marks_are_whole_rows_and_columns_and_differ_between_samples() -> None:
    marks = draw_marks(0.5, (64, 5, 31), np.random.default_rng(3))
    rows, columns = marks.all(dim=2).sum(dim=1), marks.all(dim=1).sum(dim=1)
    assert len(rows.unique()) == len(columns.unique()) == 1
    assert int(marks[0].sum()) == 31 * int(rows[0]) + 5 * int(columns[0]) - int(rows[0] * columns[0])
    assert len(marks.flatten(1).unique(dim=0)) > 1


def test_m2d_clap_gives_its_audio_tower(tmp_path: Path) -> None:
    clap = M2DClapModel.from_pretrained(tiny_models.m2d_clap(tmp_path / "clap"))
    classifier = classifier_on(clap, LABELS, FineTuneConfig())
    torch.testing.assert_close(classifier.m2d.blocks[0].attn.qkv.weight, clap.audio_model.blocks[0].attn.qkv.weight)


def test_conv_clap_trains_its_tower_and_head_and_opens_again(tmp_path: Path) -> None:
    encoder = ConvClapModel.from_pretrained(tiny_models.conv_clap(tmp_path / "encoder"))
    small = FineTuning(classifier_on(encoder, LABELS, FineTuneConfig()), FineTuneConfig()).train()
    small(batch(), generator())["loss"].backward()
    without = {name for name, one in small.named_parameters() if one.requires_grad and one.grad is None}
    assert not without
    small.eval().classifier.save_pretrained(tmp_path / "classifier")
    opened = AutoModelForAudioClassification.from_pretrained(tmp_path / "classifier").eval()
    assert opened.config.id2label == dict(enumerate(LABELS))
    wave = batch()["waveform"]
    torch.testing.assert_close(opened(small.normalised(wave)).logits, small.predict(wave))
    features = AutoModel.from_pretrained(tmp_path / "classifier").eval()
    torch.testing.assert_close(features.tower.to_frames.weight, small.classifier.conv_clap.tower.to_frames.weight)


def test_what_has_no_patches_or_is_no_encoder_of_ours_is_refused(tmp_path: Path) -> None:
    encoder = ConvClapModel.from_pretrained(tiny_models.conv_clap(tmp_path / "encoder"))
    with pytest.raises(ModelFormatError, match="has no patches"):
        classifier_on(encoder, LABELS, FineTuneConfig(training_mask=0.5))
    with pytest.raises(ModelFormatError, match="cannot be fine-tuned as a whole"):
        classifier_on(AutoModel.from_pretrained(tiny_models.clap(tmp_path / "clap")), LABELS, FineTuneConfig())


def test_the_references_patch_out_is_an_option() -> None:
    marked = FineTuneConfig(training_mask=0.5, compat_keep_marked=True)
    config = replace(marked, compat_keep_marked=False)
    torch.manual_seed(0)
    classifier = classifier_on(M2DModel(M2D), LABELS, config)
    torch.nn.init.normal_(classifier.head.linear.weight)
    losses = [FineTuning(classifier, each)(batch(), generator())["loss"].item() for each in (config, marked)]
    assert losses[0] != losses[1]
