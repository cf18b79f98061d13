"""OpenVINO reads the exported folder as it is, and gives ONNX Runtime's vectors."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from mmret import Encoder
from mmret.encoder.manifest import AUDIO_GRAPH, FILE_NAME, WEIGHTS
from mmret.errors import MissingExtra, ModelFormatError
from tests.encoder import tiny_models
from tests.encoder.test_onnx_towers import relist
from tests.encoder.tiny_models import SENTENCES, sound

pytest.importorskip("openvino", reason="OpenVINO is an extra")
SECONDS = [0.02, 0.3, 0.68, 0.69, 0.8, 2.5]


@pytest.fixture
def folder(exported_conv, tmp_path):
    """A copy to damage."""
    return shutil.copytree(exported_conv, tmp_path / "tiny")


@pytest.mark.parametrize("kind", ["conv", "m2d"])
def test_vectors_are_those_of_onnxruntime(kind, request):
    folder = request.getfixturevalue(f"exported_{kind}")
    encoder, onnx = (Encoder.from_pretrained(folder, runtime=runtime) for runtime in ("openvino", "onnx"))
    sounds = [sound(seconds, encoder.sample_rate, seed=row) for row, seconds in enumerate(SECONDS)]
    np.testing.assert_allclose(encoder.encode_audio(sounds), onnx.encode_audio(sounds), atol=1e-5)
    np.testing.assert_array_equal(encoder.encode_text(SENTENCES), onnx.encode_text(SENTENCES))
    assert (encoder.runtime, encoder.precision, encoder.fingerprint) == ("openvino", "fp32", onnx.fingerprint)


def test_vectors_stay_when_the_next_ones_are_made(exported_conv):
    encoder = Encoder.from_pretrained(exported_conv, runtime="openvino")
    first = encoder._towers.audio([sound(0.8, 16_000)])
    kept = first.copy()
    encoder._towers.audio([sound(0.8, 16_000, seed=3)])
    np.testing.assert_array_equal(first, kept)


def test_tampered_weights_are_refused(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelFormatError, match=f"{WEIGHTS} is missing or is not the file"):
        Encoder.from_pretrained(folder, runtime="openvino").encode_audio([sound(1, 16_000)])


def test_a_listed_file_of_another_kind_is_refused(folder):
    (folder / AUDIO_GRAPH).write_bytes(b"{}")
    relist(folder, AUDIO_GRAPH)
    with pytest.raises(ModelFormatError, match="cannot be opened by openvino"):
        Encoder.from_pretrained(folder, runtime="openvino").encode_audio([sound(1, 16_000)])


@pytest.mark.parametrize("outside", ["../elsewhere.tensor", "/tmp/elsewhere.tens"])
def test_weights_outside_the_folder_are_not_read(folder, outside):
    content = (folder / AUDIO_GRAPH).read_bytes()
    outside = outside[: len(WEIGHTS)].ljust(len(WEIGHTS), "s")
    (folder.parent / "elsewhere.tensors"[: len(WEIGHTS) - 3]).write_bytes((folder / WEIGHTS).read_bytes())
    (folder / AUDIO_GRAPH).write_bytes(content.replace(WEIGHTS.encode(), outside.encode()))
    relist(folder, AUDIO_GRAPH)
    with pytest.raises(ModelFormatError, match="cannot be opened by openvino"):
        Encoder.from_pretrained(folder, runtime="openvino").encode_audio([sound(1, 16_000)])


def test_a_graph_that_does_not_fit_the_front_end_is_refused(folder):
    log_mel = {"sample_rate": 16_000, "n_fft": 400, "win_length": 400, "hop_length": 160, "n_mels": 40}
    log_mel |= {"f_min": 50.0, "f_max": 8_000.0, "log_eps": 1e-7}
    tiny_models.edit_json(folder / FILE_NAME, log_mel=log_mel)
    with pytest.raises(ModelFormatError, match="do not fit"):
        Encoder.from_pretrained(folder, runtime="openvino").encode_audio([sound(1, 16_000)])


def test_what_is_missing_is_named(exported_conv, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r'pip install "mmret\[openvino\]"'):
        Encoder.from_pretrained(exported_conv, runtime="openvino")
