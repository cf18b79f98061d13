"""M2D's encoder and runtime features against the reference's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmret.models.m2d import M2DModel
from mmret.models.m2d_features import M2DFeatures
from mmret.models.m2d_heads import M2DForAudioClassification
from mmret.models.m2d_vit import resize_positions, sincos_positions
from tests.conftest import parity_files
from tests.parity.m2d_fixture import Fixture


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def encoder_of(fixture: Fixture) -> M2DModel:
    model = M2DModel(fixture.config()).eval()
    model.load_state_dict(fixture.weights(), strict=True)
    return model


@pytest.mark.parametrize("path", parity_files("m2d", "encoder_forward*.npz"), ids=lambda path: path.stem)
def test_every_block_equals_the_reference_at_every_length(path: Path):
    fixture = Fixture(path)
    model = encoder_of(fixture)
    for index, frames in enumerate(fixture.options["lengths"]):
        log_mel = fixture[f"x_{index}"]
        assert log_mel.shape[-1] == frames
        fixture.assert_close(model.patch_embed(log_mel), f"patch_embed_{index}")
        layers = model(log_mel, output_hidden_states=True).hidden_states
        fixture.assert_close(torch.stack(layers), f"layers_{index}")


@pytest.mark.parametrize("path", parity_files("m2d", "encoder_forward*.npz"), ids=lambda path: path.stem)
def test_sincos_tables_equal_the_reference(path: Path):
    fixture = Fixture(path)
    for index, case in enumerate(fixture.options["sincos"]):
        table = sincos_positions(tuple(case["grid"]), case["dim"])[0].numpy()
        np.testing.assert_allclose(table, fixture.arrays[f"sincos_{index}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", parity_files("m2d", "variable_length*.npz"), ids=lambda path: path.stem)
@pytest.mark.parametrize("layout", ["stacked", "flat"])
def test_chunked_features_of_any_length_equal_the_reference(path: Path, layout):
    fixture = Fixture(path)
    features = M2DFeatures(encoder_of(fixture), layout)
    assert features.model.config.input_size[1] == fixture.options["unit_frames"]
    for index in range(len(fixture.options["lengths"])):
        fixture.assert_close(features.features(fixture[f"x_{index}"]), f"{layout}_{index}")


@pytest.mark.parametrize("path", parity_files("m2d", "variable_length*.npz"), ids=lambda path: path.stem)
def test_one_pass_at_another_duration_equals_the_reference(path: Path):
    fixture = Fixture(path)
    for index, frames in enumerate(fixture.options["dur_frames"]):
        model = encoder_of(fixture)
        rows, _ = model.config.grid_size
        columns = frames // model.config.patch_size[1]
        fixture.assert_close(resize_positions(model.pos_embed, rows, columns), f"dur_pos_embed_{index}")
        model.set_duration(frames)
        fixture.assert_close(M2DFeatures(model, "stacked").one_pass(fixture[f"dur_x_{index}"]), f"dur_stacked_{index}")


@pytest.mark.parametrize("path", parity_files("m2d", "runtime_features*.npz"), ids=lambda path: path.stem)
@pytest.mark.parametrize("layout", ["stacked", "flat"])
def test_runtime_features_of_a_log_mel_equal_the_reference(path: Path, layout):
    fixture = Fixture(path)
    features = M2DFeatures(encoder_of(fixture), layout)
    log_mel = fixture["normalized_lms"]
    fixture.assert_close(features.features(log_mel), layout)
    fixture.assert_close(features.features(log_mel).mean(dim=1), f"scene_{layout}")
    fixture.assert_close(features.column_features(log_mel), f"timestamp_{layout}")
    layers = features.layer_features(log_mel)
    fixture.assert_close(torch.stack(layers), f"layers_{layout}")
    torch.testing.assert_close(features.joined_layers(log_mel, ()), torch.cat(layers, dim=-1))
    torch.testing.assert_close(features.joined_layers(log_mel, (0, -1)), torch.cat([layers[0], layers[-1]], dim=-1))


@pytest.mark.parametrize("path", parity_files("m2d", "runtime_features*.npz"), ids=lambda path: path.stem)
@pytest.mark.parametrize("layout", ["stacked", "flat"])
def test_runtime_features_of_a_waveform_equal_the_reference(path: Path, layout):
    fixture = Fixture(path)
    features = M2DFeatures(encoder_of(fixture), layout)
    waveform = fixture["wave"]
    fixture.assert_close(features.log_mel(waveform), "normalized_lms", rtol=0, atol=1e-4)
    fixture.assert_close(features.scene_embeddings(waveform), f"scene_{layout}", rtol=0, atol=1e-4)
    timed = features.timestamp_embeddings(waveform)
    fixture.assert_close(timed.embeddings, f"timestamp_{layout}", rtol=0, atol=1e-4)
    fixture.assert_close(timed.times_ms, f"timestamps_ms_{layout}", rtol=1e-5, atol=0)


@pytest.mark.parametrize("path", parity_files("m2d", "runtime_features*.npz"), ids=lambda path: path.stem)
@pytest.mark.parametrize("layout", ["stacked", "flat"])
def test_clip_and_frame_logits_equal_the_reference(path: Path, layout):
    fixture = Fixture(path)
    classes = len(fixture[f"head_{layout}_bias"])
    model = M2DForAudioClassification(fixture.config(feature_layout=layout, num_labels=classes)).eval()
    weights = {f"m2d.{key}": value for key, value in fixture.weights().items()}
    for name in ("running_mean", "running_var"):
        weights[f"head.norm.{name}"] = fixture[f"head_{layout}_{name}"]
    for name in ("weight", "bias"):
        weights[f"head.linear.{name}"] = fixture[f"head_{layout}_{name}"]
    weights["head.norm.num_batches_tracked"] = torch.tensor(0)
    model.load_state_dict(weights, strict=True)
    assert model.head.norm.eps == fixture.options["bn_eps"]
    log_mel = fixture["normalized_lms"]
    fixture.assert_close(model(log_mel).logits, f"logits_{layout}", rtol=1e-5, atol=5e-6)
    fixture.assert_close(model.frame_logits(log_mel), f"frame_logits_{layout}", rtol=1e-5, atol=5e-6)
