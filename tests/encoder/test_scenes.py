"""Vectors to learn from, and windows one by one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mmret.encoder import Encoder
from mmret.errors import AudioError
from mmret.models import M2DConfig, M2DModel
from mmret.models.m2d_features import M2DFeatures
from tests.encoder import tiny_models

RATE = 16_000


@pytest.fixture(scope="module")
def m2d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m2d")
    torch.manual_seed(0)
    M2DModel(M2DConfig(**tiny_models.M2D)).save_pretrained(folder)
    return folder


def test_m2d_gives_its_published_scene_embeddings(m2d: Path) -> None:
    encoder = Encoder.from_pretrained(m2d)
    wave = tiny_models.sound(2.3, RATE)  # several chunks of 0.7 s
    expected = M2DFeatures(M2DModel.from_pretrained(m2d).eval()).scene_embeddings(torch.from_numpy(wave)[None])
    scene = encoder.encode_scenes([wave])
    assert (encoder.scene_dim, encoder.has_scenes, scene.shape) == (80, True, (1, 80))
    np.testing.assert_allclose(scene, expected.detach(), rtol=1e-4, atol=1e-4)
    assert abs(np.linalg.norm(scene) - 1) > 0.01


def test_m2d_clap_gives_the_features_of_its_encoder(tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_models.m2d_clap(tmp_path / "clap"), runtime="torch")
    assert encoder.encode_scenes([tiny_models.sound(1.0, RATE)]).shape == (1, 80)
    assert encoder.encode_scenes([]).shape == (0, 80)
    assert encoder.dim == 16


def test_minutes_of_a_long_recording_are_averaged(m2d: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmret.encoder.torch_towers.LONGEST_SCENE_S", 1.0)
    encoder = Encoder.from_pretrained(m2d)
    wave = tiny_models.sound(2.0, RATE)
    halves = encoder.encode_scenes([wave[:RATE], wave[RATE:]])
    np.testing.assert_allclose(encoder.encode_scenes([wave])[0], halves.mean(axis=0), atol=1e-5)


def test_m2d_gives_its_published_timestamps(m2d: Path) -> None:
    encoder = Encoder.from_pretrained(m2d)
    wave = tiny_models.sound(1.1, RATE)
    expected = M2DFeatures(M2DModel.from_pretrained(m2d).eval()).timestamp_embeddings(torch.from_numpy(wave)[None])
    found = list(encoder.encode_timestamps(wave))
    np.testing.assert_allclose([one.start_s * 1000 for one in found], expected.times_ms[0], atol=1e-2)
    np.testing.assert_allclose([one.vector for one in found], expected.embeddings[0].detach(), rtol=1e-4, atol=1e-4)
    assert found[-1].stop_s == pytest.approx(1.1)


def test_columns_of_a_long_recording_do_not_repeat(m2d: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmret.encoder.torch_towers.LONGEST_SCENE_S", 1.0)
    found = list(Encoder.from_pretrained(m2d).encode_timestamps(tiny_models.sound(1.5, RATE)))
    starts = [one.start_s for one in found]
    assert starts == sorted(starts)
    assert all(one.stop_s > before.stop_s for before, one in pairwise(found))
    assert (found[0].start_s, found[-1].stop_s) == (0.0, 1.5)


def test_other_models_give_their_unit_vectors(tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_models.conv_clap(tmp_path / "conv"))
    wave = tiny_models.sound(1.0, RATE)
    assert not encoder.has_scenes
    np.testing.assert_array_equal(encoder.encode_scenes([wave]), encoder.encode_audio([wave]))


def test_windows_come_with_their_times_and_average_to_the_recording(tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_models.conv_clap(tmp_path / "conv"))
    wave = tiny_models.sound(1.7, RATE)
    windows = list(encoder.encode_timestamps(wave))
    assert [(one.start_s, one.stop_s) for one in windows] == [(0.0, 0.8), (0.4, 1.2), (0.8, 1.6), (0.9, 1.7)]
    mean = np.mean([one.vector for one in windows], axis=0)
    np.testing.assert_allclose(mean / np.linalg.norm(mean), encoder.encode_audio([wave])[0], atol=1e-6)


@pytest.mark.parametrize("verb", ["encode_scenes", "encode_timestamps"])
def test_a_recording_without_samples_is_an_error(m2d: Path, verb: str) -> None:
    encoder = Encoder.from_pretrained(m2d)
    empty = np.zeros(0, np.float32)
    with pytest.raises(AudioError, match="no samples"):
        list(getattr(encoder, verb)(empty if verb == "encode_timestamps" else [empty]))


def test_one_recording_in_place_of_a_list_is_refused(m2d: Path) -> None:
    with pytest.raises(TypeError, match="takes a list of recordings"):
        Encoder.from_pretrained(m2d).encode_scenes("a.wav")
