"""Encoder: what it promises of any model, and which model and runtime it takes."""

from __future__ import annotations

import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mmret import Encoder
from mmret.audio.decode import decode
from mmret.audio.segments import WindowConfig, iter_segments
from mmret.encoder import encoder as module
from mmret.encoder.encoder import BATCH, PRETRAINED, shipped_models
from mmret.errors import AudioError, MissingExtra, ModelFormatError
from tests.encoder.tiny_models import SENTENCES, sound

RATE = 8_000


class LevelTowers:
    """Two numbers a sound: the angle of its level and duration."""

    name, runtime, precision, dim, sample_rate = "levels", "fake", "fp32", 2, RATE
    windows, fingerprint, scenes = WindowConfig(1.0, 0.5), "f" * 64, None

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []

    def audio(self, waveforms):
        assert len({len(waveform) for waveform in waveforms}) == 1
        self.batches.append((len(waveforms), len(waveforms[0])))
        angles = [float(np.abs(waveform).mean()) + len(waveform) / RATE for waveform in waveforms]
        return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)

    def text(self, sentences):
        return np.array([[1, 0] for _ in sentences], np.float32)


class TorchTowers(LevelTowers):
    runtime = "torch"


class GivesVector(LevelTowers):
    """The same vector for everything whose level is beyond a half, and for every text."""

    def __init__(self, vector: list[float]) -> None:
        super().__init__()
        self.vector = vector

    def audio(self, waveforms):
        vectors = super().audio(waveforms)
        vectors[[bool(np.abs(waveform).mean() > 0.5) for waveform in waveforms]] = self.vector
        return vectors

    def text(self, sentences):
        return np.array([self.vector for _ in sentences], np.float32)


def loud(seconds: float = 0.5) -> np.ndarray:
    return np.full(round(seconds * RATE), 0.9, np.float32)


def quiet(seconds: float = 0.5) -> np.ndarray:
    return np.full(round(seconds * RATE), 0.1, np.float32)


@pytest.fixture(params=["onnx", "torch", "clap"])
def encoder(request) -> Encoder:
    if request.param == "clap":
        return Encoder.from_pretrained(request.getfixturevalue("clap_folder"))
    return Encoder.from_pretrained(request.getfixturevalue("exported_conv"), runtime=request.param)


def test_every_vector_has_length_one(encoder):
    vectors = [encoder.encode_audio([sound(2, encoder.sample_rate)]), encoder.encode_text(SENTENCES)]
    for row in np.concatenate(vectors):
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert {one.dtype for one in vectors} == {np.dtype(np.float32)}


def test_the_same_call_gives_the_same_bits(encoder):
    sounds = [sound(seconds, encoder.sample_rate, seed=row) for row, seconds in enumerate((0.3, 0.3, 2))]
    np.testing.assert_array_equal(encoder.encode_audio(sounds), encoder.encode_audio(sounds))
    np.testing.assert_array_equal(encoder.encode_text(SENTENCES), encoder.encode_text(SENTENCES))


def test_alone_or_in_a_batch_a_sound_gets_the_same_vector(encoder):
    sounds = [sound(0.5, encoder.sample_rate, seed=row) for row in range(BATCH + 3)]
    together = encoder.encode_waveforms(sounds)
    for row, one in enumerate(sounds):
        np.testing.assert_allclose(encoder.encode_waveforms([one])[0], together[row], atol=1e-5)


def test_a_long_recording_is_the_mean_of_its_windows(encoder):
    recording = sound(3.3, encoder.sample_rate)
    segments = iter_segments([recording], encoder.sample_rate, encoder.windows)
    mean = encoder.encode_waveforms([segment.waveform for segment in segments]).mean(axis=0)
    np.testing.assert_allclose(encoder.encode_audio([recording])[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_a_file_gets_the_vector_of_its_samples(encoder, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([sound(2, 16_000), sound(2, 16_000, seed=1)], axis=1), 16_000)
    samples = decode(tmp_path / "a.wav", encoder.sample_rate)
    from_file, from_samples = encoder.encode_audio([tmp_path / "a.wav"]), encoder.encode_audio([samples])
    np.testing.assert_array_equal(from_file, from_samples)


def test_waveforms_of_many_lengths_keep_their_order_and_share_batches():
    towers = LevelTowers()
    waveforms = [quiet(seconds) for seconds in [0.3, 0.7] * (BATCH + 1)]
    vectors = Encoder(towers).encode_waveforms(waveforms)
    assert sorted(towers.batches) == sorted([(BATCH, 2400), (1, 2400), (BATCH, 5600), (1, 5600)])
    for vector, waveform in zip(vectors, waveforms, strict=True):
        np.testing.assert_allclose(vector, LevelTowers().audio([waveform])[0], atol=1e-7)


def test_memory_does_not_grow_with_a_recording(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(sound(1, RATE), 600), RATE)  # 19 MB as float32
    encoder = Encoder(LevelTowers())
    tracemalloc.start()
    try:
        encoder.encode_audio([path])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_nothing_gives_nothing():
    encoder = Encoder(LevelTowers())
    for vectors in (encoder.encode_audio([]), encoder.encode_waveforms([]), encoder.encode_text([])):
        assert vectors.shape == (0, 2)


@pytest.mark.parametrize(
    ("vector", "words"),
    [([np.nan, 1], "not finite"), ([np.inf, 0], "not finite"), ([2, 0], "length 2"), ([0, 0], "length 0")],
)
def test_a_vector_that_is_none_is_refused_and_its_item_named(vector, words, tmp_path):
    encoder = Encoder(GivesVector(vector))
    soundfile.write(tmp_path / "late.wav", np.concatenate([quiet(6), loud(1)]), RATE)
    assert encoder.encode_waveforms([quiet(), quiet()]).shape == (2, 2)
    with pytest.raises(ModelFormatError, match=rf"levels gave a vector .*{words}.* for waveform 1$"):
        encoder.encode_waveforms([quiet(), loud()])
    with pytest.raises(ModelFormatError, match=rf"{words}.* for waveform 2 at 0\.00-0\.50 s"):
        encoder.encode_audio([quiet(), quiet(), loud()])
    with pytest.raises(ModelFormatError, match=rf"{words}.*late\.wav at 6\.00-7\.00 s"):
        encoder.encode_audio([quiet(), tmp_path / "late.wav"])
    with pytest.raises(ModelFormatError, match=rf"{words}.* for sentence 'rain'"):
        encoder.encode_text(["rain"])


def test_windows_whose_vectors_cancel_out_are_refused():
    class Opposite(LevelTowers):
        def audio(self, waveforms):
            return np.array([[1, 0] if waveform.mean() > 0.5 else [-1, 0] for waveform in waveforms], np.float32)

    recording = np.concatenate([loud(1.3), quiet(1.2)])
    assert len(list(iter_segments([recording], RATE, LevelTowers.windows))) == 4
    with pytest.raises(ModelFormatError, match=r"length 0 .* for waveform 0$"):
        Encoder(Opposite()).encode_audio([recording])


def test_an_empty_recording_is_an_audio_error(tmp_path):
    encoder = Encoder(LevelTowers())
    with pytest.raises(AudioError, match="waveform 1: empty"):
        encoder.encode_audio([quiet(), np.empty(0, np.float32)])
    with pytest.raises(AudioError, match="waveform 0: empty"):
        encoder.encode_waveforms([np.empty(0, np.float32)])
    soundfile.write(tmp_path / "none.wav", np.empty(0, np.float32), RATE)
    with pytest.raises(AudioError, match=r"none\.wav: empty"):
        encoder.encode_audio([tmp_path / "none.wav"])


def test_a_file_that_vanishes_in_resampling_is_an_audio_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "decode_blocks", lambda *_: iter([np.empty(0, np.float32)]))
    with pytest.raises(AudioError, match=r"blink\.wav: empty"):
        Encoder(LevelTowers()).encode_audio([tmp_path / "blink.wav"])


@pytest.mark.parametrize("wrong", [np.ones((2, 10), np.float32), np.ones(10, np.int16), np.ones((), np.float32)])
def test_what_is_no_waveform_is_refused(wrong):
    encoder = Encoder(LevelTowers())
    for encode in (encoder.encode_audio, encoder.encode_waveforms):
        with pytest.raises(ValueError, match="waveform 1 must be floats"):
            encode([quiet(), wrong])


def test_a_waveform_longer_than_a_window_is_refused_where_windows_are_asked_for():
    encoder = Encoder(LevelTowers())
    assert encoder.encode_waveforms([quiet(1.0)]).shape == (1, 2)
    with pytest.raises(ValueError, match="waveform 0 has 8001 samples, a window 8000"):
        encoder.encode_waveforms([np.append(quiet(1.0), np.float32(0))])


def test_one_item_in_place_of_a_list_is_a_type_error(tmp_path):
    encoder = Encoder(LevelTowers())
    for recordings in ("a.wav", tmp_path, quiet()):
        with pytest.raises(TypeError, match="takes a list"):
            encoder.encode_audio(recordings)
    with pytest.raises(TypeError, match="takes a list"):
        encoder.encode_text("a dog barks")


def test_it_introduces_itself(exported_conv):
    shown = "Encoder('tiny', runtime='onnx', precision='fp32', dim=16, sample_rate=16000)"
    assert repr(Encoder.from_pretrained(exported_conv)) == shown


@pytest.mark.parametrize("name", ["mmret-huge", "./models/absent", "/absent", "a/b/c", "~/model", "", "../mmret-mini"])
def test_a_wrong_name_is_answered_with_the_right_ones(name):
    with pytest.raises(ModelFormatError, match=r"no model called .*laion/clap-htsat-unfused"):
        Encoder.from_pretrained(name)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelFormatError, match=r"no model called .*model\.onnx"):
        Encoder.from_pretrained(tmp_path / "model.onnx")


def test_an_unknown_runtime_and_a_folder_without_graphs_are_refused(conv_folder, exported_conv):
    with pytest.raises(ModelFormatError, match="'tpu' is not one of auto, onnx, openvino, torch"):
        Encoder.from_pretrained(exported_conv, runtime="tpu")
    with pytest.raises(ModelFormatError, match="mmret export"):
        Encoder.from_pretrained(conv_folder, runtime="onnx")


@pytest.mark.parametrize(("available", "runtime"), [(True, "torch"), (False, "onnx")])
def test_a_program_on_a_gpu_gets_torch(exported_conv, monkeypatch, available, runtime):
    monkeypatch.setattr(module, "_torch_towers", lambda *_, **__: TorchTowers())
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: available)))
    assert Encoder.from_pretrained(exported_conv).runtime == runtime
    assert Encoder.from_pretrained(exported_conv, runtime="onnx").runtime == "onnx"


def test_a_program_without_torch_gets_onnx_and_a_hint(exported_conv, conv_folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert Encoder.from_pretrained(exported_conv).runtime == "onnx"
    assert "torch" not in sys.modules
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"mmret\[models\]"):
        Encoder.from_pretrained(conv_folder)
    with pytest.raises(MissingExtra, match=r"Leave the runtime out.*mmret\[models\]"):
        Encoder.from_pretrained(exported_conv, runtime="torch")


def test_the_shipped_model_hears_and_reads():
    if not (PRETRAINED / "mmret-mini" / "mmret.json").is_file():
        pytest.skip("mmret/pretrained/mmret-mini is not in this checkout")
    assert "mmret-mini" in shipped_models()
    encoder = Encoder.from_pretrained("mmret-mini", runtime="onnx")
    assert encoder.encode_text(["a dog barks"]).shape == (1, encoder.dim)
    assert encoder.encode_audio([sound(4, encoder.sample_rate)]).shape == (1, encoder.dim)
