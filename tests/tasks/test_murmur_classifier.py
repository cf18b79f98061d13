"""Fine-tuned murmur classifiers from model folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmret.data.circor import MURMURS
from mmret.errors import ModelFormatError
from mmret.metrics.murmur import MURMUR_CLASSES
from mmret.models import M2DConfig, M2DForAudioClassification, M2DModel
from mmret.tasks.murmur import open_murmur_model
from mmret.tasks.murmur_classifier import MurmurClassifier
from tests.heart_sounds import heart


def saved(folder: Path, labels: tuple[str, ...], **sizes: int) -> Path:
    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: row for row, label in enumerate(labels)}}
    config = M2DConfig(input_size=(80, 208), embed_dim=16, depth=1, num_heads=2, **named, **sizes)
    classifier = M2DForAudioClassification(config)
    with torch.no_grad():
        classifier.head.linear.bias.copy_(torch.arange(len(labels)))
    classifier.save_pretrained(folder)
    return folder


def test_logits_stand_in_the_challenges_order(tmp_path: Path) -> None:
    model = open_murmur_model(saved(tmp_path / "run", MURMURS))
    assert isinstance(model, MurmurClassifier) and model.classes == MURMUR_CLASSES
    pieces = model.pieces(np.tile(heart(6, rate=16_000), 2))
    assert [(piece.start_s, piece.stop_s, len(piece.waveform)) for piece in pieces] == [
        (0, 5, 80_000),
        (5, 10, 80_000),
    ]
    logits = model.logits(pieces)  # biases 0, 1, 2 for Absent, Present, Unknown
    np.testing.assert_allclose(logits, np.tile([1.0, 2.0, 0.0], (2, 1)), atol=0.01)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="rain, siren apart"):
        open_murmur_model(saved(tmp_path, ("rain", "siren")))


def test_an_encoder_is_no_classifier(tmp_path: Path) -> None:
    M2DModel(M2DConfig(input_size=(80, 64), embed_dim=16, depth=1, num_heads=2)).save_pretrained(tmp_path)
    with pytest.raises(ModelFormatError, match="of its weights"):
        open_murmur_model(tmp_path)


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        open_murmur_model(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelFormatError, match="bert"):
        open_murmur_model(tmp_path)
