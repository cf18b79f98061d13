"""Every published container opens and gives the reference's features, logits and CLAP vectors from a waveform."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmret.models import (
    M2DClapModel,
    M2DFeatures,
    M2DForAudioClassification,
    convert_checkpoint,
    load_m2d_checkpoint,
)
from tests.conftest import parity_dir, parity_files

TOLERANCE = {"rtol": 1e-4, "atol": 5e-5}
CASES = [
    (path.parent, name)
    for path in parity_files("m2d", "checkpoints*/expected.json")
    for name in json.loads(path.read_text())
    if "file" in json.loads(path.read_text())[name]
]


class Case:
    """One container with what is expected of it."""

    def __init__(self, folder: os.PathLike[str], name: str) -> None:
        self.name = name
        self.facts: dict[str, Any] = json.loads((folder / "expected.json").read_text())[name]
        self.path = folder / self.facts["file"]
        self.arrays = np.load(folder / "expected.npz", allow_pickle=False)
        self.heads = {"num_heads": self.facts["num_heads"]}
        if "bert_config" in self.facts:
            self.heads["text_num_heads"] = self.facts["bert_config"]["num_attention_heads"]

    def expected(self, key: str) -> Tensor | None:
        full = f"{self.name}.{key}"
        return torch.from_numpy(self.arrays[full]) if full in self.arrays.files else None

    def waveform(self) -> Tensor:
        return torch.from_numpy(self.arrays[f"wave_{self.facts['sr']}"])

    def check(self, actual: Tensor, key: str) -> None:
        expected = self.expected(key)
        if expected is not None:
            torch.testing.assert_close(actual, expected, **TOLERANCE, msg=lambda text: f"{key}: {text}")


@pytest.fixture(params=CASES, ids=lambda case: case[1])
def case(request) -> Case:
    return Case(*request.param)


def encoder_of(model):
    return getattr(model, "m2d", None) or getattr(model, "audio_model", None) or model


@torch.no_grad()
def check_everything(case: Case, model) -> None:
    encoder = encoder_of(model)
    assert list(encoder.config.input_size) == case.facts["input_size"]
    assert list(encoder.config.patch_size) == case.facts["patch_size"]
    assert f"{encoder.config.sample_rate // 1000}k" == case.facts["sr"]
    torch.testing.assert_close(encoder.norm_stats, case.expected("norm_stats"))
    waveform = case.waveform()
    log_mel = M2DFeatures(encoder).log_mel(waveform)
    for layout in ("stacked", "flat"):
        case.check(M2DFeatures(encoder, layout).features(log_mel), layout)
    if isinstance(model, M2DForAudioClassification):
        assert model.config.num_labels == case.facts["num_classes"]
        assert (model.config.feature_layout == "flat") == bool(case.expected("head_flat"))
        case.check(model(log_mel).logits, "logits")
        case.check(model.frame_logits(log_mel), "frame_logits")
    if isinstance(model, M2DClapModel):
        case.check(model.embed_audio(log_mel), "clap_audio")
        text, ids = case.expected("text_embedding"), case.expected("input_ids")
        embedded = (
            model.embed_text_vectors(text) if ids is None else model.embed_text(ids, case.expected("attention_mask"))
        )
        case.check(embedded, "clap_text")


def test_container_opens_as_the_model_it_holds(case: Case):
    model = load_m2d_checkpoint(case.path, **case.heads)
    assert isinstance(model, M2DForAudioClassification) == (case.expected("logits") is not None)
    assert isinstance(model, M2DClapModel) == (case.expected("clap_audio") is not None)
    check_everything(case, model)


def test_converted_folder_opens_with_the_same_numbers(case: Case, tmp_path):
    folder = convert_checkpoint(case.path, tmp_path / "model", **case.heads)
    kind = type(load_m2d_checkpoint(case.path, **case.heads))
    check_everything(case, kind.from_pretrained(folder).eval())


def test_every_container_folder_is_listed():
    assert CASES or not parity_dir("m2d")
