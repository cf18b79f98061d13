"""Models that transformers loads: the vectors are the model's own, and what cannot be used is refused in words."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ClapModel, ClapProcessor

from mmret import Encoder
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.errors import ModelFormatError
from mmret.models import M2DConfig, M2DModel, convert_checkpoint
from tests.encoder import tiny_models
from tests.encoder.tiny_models import SENTENCES, sound

RATE = 8_000


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@torch.inference_mode()
def test_a_clap_of_transformers_gives_its_own_vectors(clap_folder):
    encoder = Encoder.from_pretrained(clap_folder)
    model, processor = ClapModel.from_pretrained(clap_folder).eval(), ClapProcessor.from_pretrained(clap_folder)
    for seconds in (0.1, 0.5, 1.0):
        waveform = sound(seconds, RATE)
        inputs = processor.feature_extractor(waveform, sampling_rate=RATE, return_tensors="pt")
        expected = unit(model.get_audio_features(**inputs).pooler_output)
        np.testing.assert_allclose(encoder.encode_audio([waveform]), expected, atol=1e-6)
    for sentence in SENTENCES:
        expected = unit(model.get_text_features(**processor.tokenizer(sentence, return_tensors="pt")).pooler_output)
        np.testing.assert_allclose(encoder.encode_text([sentence]), expected, atol=1e-6)


@torch.inference_mode()
def test_a_fused_clap_hears_windows_as_short_clips_without_chance(tmp_path):
    folder = tiny_models.clap(tmp_path / "fused", fused=True)
    encoder = Encoder.from_pretrained(folder)
    model, processor = ClapModel.from_pretrained(folder).eval(), ClapProcessor.from_pretrained(folder)
    sounds = [sound(seconds, RATE, seed=row) for row, seconds in enumerate((1, 1, 1, 0.5))]
    inputs = processor.feature_extractor(sounds, sampling_rate=RATE, return_tensors="pt")
    short = torch.zeros(4, 1, dtype=torch.bool)
    expected = unit(model.get_audio_features(inputs["input_features"], is_longer=short).pooler_output)
    np.testing.assert_allclose(encoder.encode_waveforms(sounds), expected, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_waveforms(sounds), encoder.encode_waveforms(sounds))


def test_a_hub_id_opens_from_the_cache_without_a_network(clap_folder, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--tiny--clap" / "snapshots" / ("0" * 40)
    shutil.copytree(clap_folder, snapshot)
    (tmp_path / "models--tiny--clap" / "refs").mkdir()
    (tmp_path / "models--tiny--clap" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    encoder = Encoder.from_pretrained("tiny/clap")
    assert encoder.name == "tiny/clap"
    expected = Encoder.from_pretrained(clap_folder)
    assert encoder.fingerprint == expected.fingerprint
    np.testing.assert_array_equal(encoder.encode_text(SENTENCES), expected.encode_text(SENTENCES))
    with pytest.raises(ModelFormatError, match="tiny/absent cannot be loaded"):
        Encoder.from_pretrained("tiny/absent")


def published(folder: Path, model: torch.nn.Module) -> Path:
    """A checkpoint as its authors write it: audio tower under backbone, BERT under the text encoder."""
    names = {"audio_model.": "backbone.", "text_model.": "text_encoder.text_encoder."}
    weights = {}
    for key, value in model.state_dict().items():
        old = next((prefix for prefix in names if key.startswith(prefix)), "")
        new = names.get(old, "" if key == "logit_scale" else "backbone.")
        weights[new + key.removeprefix(old)] = value
    path = folder / "checkpoint-30.pth"
    torch.save({"model": weights}, path)
    return path


@torch.inference_mode()
def test_a_converted_m2d_clap_hears_and_reads(m2d_folder, tmp_path):
    model = tiny_models.M2DClapModel.from_pretrained(m2d_folder).eval()
    folder = convert_checkpoint(published(tmp_path, model), tmp_path / "out", num_heads=2, text_num_heads=2)
    words = tiny_models.bert_tokenizer()
    words.save_pretrained(folder)
    encoder = Encoder.from_pretrained(folder)
    log_mel = torch.from_numpy(LogMel(LogMelConfig())(sound(0.5, 16_000)))[None, None]
    np.testing.assert_allclose(
        encoder.encode_audio([sound(0.5, 16_000)]), model.get_audio_features(log_mel).pooler_output, atol=1e-6
    )
    tokens = words(SENTENCES[0], return_tensors="pt")
    expected = model.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output
    np.testing.assert_allclose(encoder.encode_text(SENTENCES[:1]), expected, atol=1e-6)


def test_a_window_fills_the_input_of_an_m2d_exactly(m2d_folder):
    encoder = Encoder.from_pretrained(m2d_folder)
    samples = round(encoder.windows.window_s * encoder.sample_rate)
    assert LogMel(LogMelConfig())(np.zeros(samples, np.float32)).shape == (80, 70)


@pytest.mark.parametrize(("layout", "dim"), [("stacked", 80), ("flat", 16)])
def test_a_plain_m2d_hears_and_says_that_it_cannot_read(layout, dim, tmp_path):
    M2DModel(M2DConfig(**tiny_models.M2D, feature_layout=layout)).save_pretrained(tmp_path / "m2d")
    encoder = Encoder.from_pretrained(tmp_path / "m2d")
    assert encoder.encode_audio([sound(1.5, 16_000)]).shape == (1, dim)
    with pytest.raises(ModelFormatError, match="m2d reads no text"):
        encoder.encode_text(["rain"])


@pytest.mark.parametrize("build", [tiny_models.conv_clap, tiny_models.m2d_clap])
def test_a_folder_without_text_tower_says_so(build, tmp_path):
    encoder = Encoder.from_pretrained(build(tmp_path / "audio_only", text=False))
    with pytest.raises(ModelFormatError, match="audio_only reads no text"):
        encoder.encode_text(["rain"])


def test_a_text_tower_without_tokenizer_says_what_is_missing(m2d_folder, tmp_path):
    shutil.copytree(m2d_folder, tmp_path / "mute")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "mute" / name).unlink()
    with pytest.raises(ModelFormatError, match="mute has no tokenizer"):
        Encoder.from_pretrained(tmp_path / "mute").encode_text(["rain"])


def test_a_text_longer_than_the_tower_reads_is_cut(clap_folder, m2d_folder):
    for folder in (clap_folder, m2d_folder):
        encoder = Encoder.from_pretrained(folder)
        long, longer = encoder.encode_text([" ".join(["rain"] * count) for count in (100, 200)])
        np.testing.assert_array_equal(long, longer)


def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def test_missing_weights_are_refused_not_made_up(clap_folder, tmp_path):
    folder = damaged(clap_folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.linear1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFormatError, match=r"lacks 1 of its weights.*text_projection\.linear1\.weight"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_weights_cut_short_are_refused(clap_folder, tmp_path, share):
    path = damaged(clap_folder, tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        Encoder.from_pretrained(path.parent)


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(clap_folder, tmp_path, name):
    folder = damaged(clap_folder, tmp_path)
    (folder / name).unlink()
    with pytest.raises(ModelFormatError, match="damaged cannot be loaded"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "cannot be loaded"),
        ("{}", "cannot be loaded"),
        (json.dumps({"model_type": "bert"}), "is a bert model; mmret encodes with clap, conv_clap, m2d, m2d_clap"),
        (json.dumps({"model_type": "unheard_of"}), "cannot be loaded"),
        (json.dumps({"model_type": "m2d", "embed_dim": 10**9}), "embed_dim"),
    ],
)
def test_a_configuration_that_is_none_of_ours_is_refused(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFormatError, match=words):
        Encoder.from_pretrained(tmp_path)


class RunsCode:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def test_pickled_weights_that_would_run_code_are_refused(clap_folder, tmp_path):
    folder = damaged(clap_folder, tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(RunsCode(tmp_path / "was_here")))
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        Encoder.from_pretrained(folder)
    assert not (tmp_path / "was_here").exists()


def test_code_that_a_folder_brings_is_refused_not_run(tmp_path):
    trace = tmp_path / "was_run"
    (tmp_path / "modeling_own.py").write_text(f"open({str(trace)!r}, 'w')\nclass OwnConfig: pass\n")
    names = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnConfig"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": names}))
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        Encoder.from_pretrained(tmp_path)
    assert not trace.exists()
