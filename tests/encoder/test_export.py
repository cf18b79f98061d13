"""Export: both runtimes read the same numbers from one file, and give the same vectors."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest

from mmret import Encoder
from mmret.encoder import export
from mmret.encoder.export import export_folder
from mmret.encoder.manifest import AUDIO_GRAPH, FILE_NAME, TEXT_GRAPH, TOKENIZER, WEIGHTS, read_manifest
from mmret.errors import ModelFormatError
from tests.encoder import tiny_models
from tests.encoder.tiny_models import SENTENCES, sound

FILES = {"config.json", FILE_NAME, WEIGHTS, AUDIO_GRAPH, TEXT_GRAPH, TOKENIZER, "tokenizer_config.json"}
SECONDS = [0.02, 0.3, 0.68, 0.69, 0.8, 2.5]


@pytest.fixture(params=["conv", "m2d"])
def exported(request):
    return request.getfixturevalue(f"exported_{request.param}")


def test_onnx_and_torch_give_the_same_vectors(exported):
    light = Encoder.from_pretrained(exported, runtime="onnx")
    heavy = Encoder.from_pretrained(exported, runtime="torch")
    sounds = [sound(seconds, light.sample_rate, seed=row) for row, seconds in enumerate(SECONDS)]
    np.testing.assert_allclose(light.encode_audio(sounds), heavy.encode_audio(sounds), atol=1e-4)
    np.testing.assert_allclose(light.encode_text(SENTENCES), heavy.encode_text(SENTENCES), atol=1e-4)
    assert light.fingerprint == heavy.fingerprint
    assert (light.dim, light.sample_rate, light.windows) == (heavy.dim, heavy.sample_rate, heavy.windows)


def test_different_inputs_give_different_vectors(exported):
    encoder = Encoder.from_pretrained(exported)
    sounds = encoder.encode_audio([sound(1, 16_000), np.diff(sound(1, 16_000, seed=1), n=3)])
    words = encoder.encode_text(SENTENCES[:2])
    assert np.abs(sounds[0] - sounds[1]).max() > 0.01
    assert np.abs(words[0] - words[1]).max() > 0.01


def test_storing_as_float16_moves_the_vectors_little(m2d_folder, exported_m2d):
    source, encoder = Encoder.from_pretrained(m2d_folder), Encoder.from_pretrained(exported_m2d)
    assert (source.runtime, encoder.runtime) == ("torch", "onnx")
    sounds = [sound(1, 16_000)]
    np.testing.assert_allclose(encoder.encode_audio(sounds), source.encode_audio(sounds), atol=2e-3)
    np.testing.assert_allclose(encoder.encode_text(SENTENCES), source.encode_text(SENTENCES), atol=2e-3)


def test_a_folder_is_complete_and_its_graphs_hold_no_matrices(exported):
    assert {path.name for path in exported.iterdir()} == FILES
    for name in (AUDIO_GRAPH, TEXT_GRAPH):
        graph = onnx.load(str(exported / name), load_external_data=False).graph
        inside = [tensor for tensor in graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL]
        assert all(len(tensor.dims) < 2 for tensor in inside)
        places = {
            entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "location"
        }
        assert places == {WEIGHTS}


def test_the_same_model_exports_to_the_same_bytes(conv_folder, exported_conv, tmp_path):
    again = export_folder(conv_folder, tmp_path / "tiny")
    assert read_manifest(again) == read_manifest(exported_conv)


def test_an_exported_folder_exports_again_to_the_same_weights(exported_conv, tmp_path):
    again = export_folder(exported_conv, tmp_path / "again", name="renamed")
    assert read_manifest(again).name == "renamed"
    assert read_manifest(again).fingerprint == read_manifest(exported_conv).fingerprint


def test_a_model_without_text_exports_its_audio_tower(tmp_path):
    folder = export_folder(tiny_models.conv_clap(tmp_path / "source", text=False), tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {"config.json", FILE_NAME, WEIGHTS, AUDIO_GRAPH}
    assert Encoder.from_pretrained(folder).encode_audio([sound(1, 16_000)]).shape == (1, 16)


def test_texts_are_cut_where_the_tokenizer_of_the_folder_says(conv_folder, tmp_path):
    shutil.copytree(conv_folder, tmp_path / "source")
    tiny_models.edit_json(tmp_path / "source" / "tokenizer_config.json", model_max_length=4)
    folder = export_folder(tmp_path / "source", tmp_path / "out")
    for runtime in ("onnx", "torch"):
        vectors = Encoder.from_pretrained(folder, runtime=runtime).encode_text(["a dog barks", "a dog rings"])
        np.testing.assert_array_equal(vectors[0], vectors[1])


def test_an_existing_folder_is_never_touched(conv_folder, tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(ModelFormatError, match="exists already"):
        export_folder(conv_folder, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "kept"


def test_other_models_and_missing_folders_are_refused_by_name(clap_folder, tmp_path):
    with pytest.raises(ModelFormatError, match="is a clap model"):
        export_folder(clap_folder, tmp_path / "out")
    with pytest.raises(ModelFormatError, match=r"no model called .*absent"):
        export_folder(tmp_path / "absent", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_graphs_that_differ_from_torch_leave_nothing_behind(conv_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ModelFormatError, match="differ from torch"):
        export_folder(conv_folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_opens_by_transformers(exported):
    assert json.loads((exported / "config.json").read_text())["model_type"] in ("conv_clap", "m2d_clap")


def test_nothing_tells_where_the_model_was_made(exported, conv_folder):
    text = (exported / "config.json").read_text()
    assert "_name_or_path" not in text and str(conv_folder.parent) not in text
