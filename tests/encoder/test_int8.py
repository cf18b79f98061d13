"""int8 folders: their own fingerprint, nearly the same vectors of sounds, the very same ones of sentences."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

from mmret import Encoder
from mmret.encoder import export, onnx_towers, quantise
from mmret.encoder.export import export_folder
from mmret.encoder.manifest import AUDIO_GRAPH, FILE_NAME, TEXT_GRAPH, TEXT_WEIGHTS, TOKENIZER, read_manifest
from mmret.errors import ModelFormatError
from tests.encoder import tiny_models
from tests.encoder.tiny_models import SENTENCES, sound

FILES = {FILE_NAME, AUDIO_GRAPH, TEXT_GRAPH, TEXT_WEIGHTS, TOKENIZER, "tokenizer_config.json"}
SOUNDS = [sound(seconds, 16_000, seed=row) for row, seconds in enumerate([0.02, 0.3, 0.8, 2.5])]


@pytest.fixture(scope="module", autouse=True)
def few_recordings():
    """Calibrate and judge with some of the samples: torch takes its time over them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "sample_recordings", lambda: quantise.sample_recordings()[::12])
        yield


def test_all_sample_recordings_are_found():
    assert len(quantise.sample_recordings()) == 37


@pytest.fixture(scope="module")
def folders(conv_folder, m2d_folder, tmp_path_factory):
    """int8 exports by kind; vectors of tiny models feel the rounding more than those of large ones."""
    out = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantise, "SMALLEST_COSINE", 0.99)
        sources = {"conv": conv_folder, "m2d": m2d_folder}
        return {kind: export_folder(source, out / kind, precision="int8") for kind, source in sources.items()}


@pytest.fixture(params=["conv", "m2d"])
def kind(request):
    return request.param


@pytest.fixture
def int8(folders, kind):
    return folders[kind]


@pytest.fixture
def fp32(request, kind):
    return request.getfixturevalue(f"exported_{kind}")


def test_sounds_keep_their_place_and_sentences_their_numbers(int8, fp32):
    fast, exact = Encoder.from_pretrained(int8), Encoder.from_pretrained(fp32, runtime="onnx")
    quantised, vectors = fast.encode_audio(SOUNDS), exact.encode_audio(SOUNDS)
    assert (quantised * vectors).sum(axis=1).min() > 0.98
    assert np.abs(quantised - vectors).max() > 1e-5
    np.testing.assert_array_equal(fast.encode_text(SENTENCES), exact.encode_text(SENTENCES))
    assert fast.fingerprint != exact.fingerprint


@pytest.mark.parametrize(("kind", "precision"), [("conv", "int8"), ("m2d", "int8-dynamic")], indirect=["kind"])
def test_the_folder_says_what_it_is_and_holds_each_number_once(int8, precision):
    assert {path.name for path in int8.iterdir()} == FILES
    assert f"precision='{precision}'" in repr(Encoder.from_pretrained(int8))
    assert read_manifest(int8).precision == precision
    graph = onnx.load(str(int8 / AUDIO_GRAPH)).graph
    matrices = [
        tensor.data_type for tensor in graph.initializer if len(tensor.dims) == (4 if precision == "int8" else 2)
    ]
    assert onnx.TensorProto.INT8 in matrices


def test_a_vector_does_not_depend_on_what_is_encoded_beside_it(int8):
    encoder = Encoder.from_pretrained(int8)
    waves = [level * sound(0.6, 16_000, seed=row) for row, level in enumerate((1, 0.1, 0.01))]
    together = encoder.encode_waveforms(waves)
    alone = np.concatenate([encoder.encode_waveforms([wave]) for wave in waves])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_other_runtimes_are_refused(int8, runtime):
    with pytest.raises(ModelFormatError, match=rf"on onnxruntime alone.*--precision fp32 for {runtime}"):
        Encoder.from_pretrained(int8, runtime=runtime)


def test_a_program_on_a_gpu_runs_it_all_the_same(int8, monkeypatch):
    monkeypatch.setattr("mmret.encoder.encoder._gpu_in_use", lambda: True)
    assert Encoder.from_pretrained(int8).runtime == "onnx"


def test_without_vnni_sentences_are_encoded_and_recordings_refused(int8, monkeypatch):
    monkeypatch.setattr(onnx_towers, "adds_int8_exactly", lambda: False)
    encoder = Encoder.from_pretrained(int8)
    assert encoder.encode_text(["rain"]).shape == (1, 16)
    with pytest.raises(ModelFormatError, match="this processor has no VNNI"):
        encoder.encode_audio(SOUNDS)


def test_without_vnni_nothing_is_exported(conv_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "adds_int8_exactly", lambda: False)
    with pytest.raises(ModelFormatError, match="no VNNI"):
        export_folder(conv_folder, tmp_path / "out", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_the_same_model_gives_the_same_fingerprint(folders, m2d_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "SMALLEST_COSINE", 0.99)
    again = export_folder(m2d_folder, tmp_path / "m2d", precision="int8")
    assert read_manifest(again) == read_manifest(folders["m2d"])


def test_vectors_that_move_too_far_leave_nothing_behind(m2d_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "SMALLEST_COSINE", 1.1)
    with pytest.raises(ModelFormatError, match=r"mean cosine of (1\.00|0\.99)\d\d .* 4 sample recordings"):
        export_folder(m2d_folder, tmp_path / "out", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_are_no_numbers_are_refused():
    nothing = np.full((2, 4), np.nan, np.float32)
    with pytest.raises(ModelFormatError, match="mean cosine of nan"):
        quantise.check_vectors("broken", nothing, nothing)


def test_an_unknown_precision_is_refused(conv_folder, tmp_path):
    with pytest.raises(ModelFormatError, match="'int4' is not one of fp32, int8"):
        export_folder(conv_folder, tmp_path / "out", precision="int4")


def test_a_manifest_of_unknown_precision_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["conv"], tmp_path / "copy")
    tiny_models.edit_json(folder / FILE_NAME, precision="int4")
    with pytest.raises(ModelFormatError, match="'int4' is not one of fp32, int8, int8-dynamic"):
        Encoder.from_pretrained(folder)


def test_an_audio_tower_alone_is_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "SMALLEST_COSINE", 0.99)
    source = tiny_models.m2d_clap(tmp_path / "source", text=False)
    folder = export_folder(source, tmp_path / "out", precision="int8")
    assert {path.name for path in folder.iterdir()} == {FILE_NAME, AUDIO_GRAPH}
    assert Encoder.from_pretrained(folder).encode_audio(SOUNDS).shape == (len(SOUNDS), 16)
