"""The pre-training recipes run from their command lines, on tiny models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModel

import mmret.models  # noqa: F401  (registers the classes that AutoModel opens)
from mmret.data.log_mel_folder import open_log_mels, read_statistics
from mmret.models.m2d_clap import M2DClapModel
from mmret.training import read_log
from tests.conftest import ROOT

TINY = {
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "decoder_embed_dim": 32,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
RUN = ["--steps", "2", "--warmup-steps", "1", "--batch-size", "4", "--log-every", "1", "--accumulation", "2"]


def run_recipe(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script of train/ in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "train" / name), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def tiny(prefix: str) -> list[str]:
    """Settings that make a model of a configuration file tiny."""
    return [word for name, value in TINY.items() for word in (f"--{prefix}.{name}", str(value))]


@pytest.fixture(scope="module")
def audio_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds-long recordings of noise, and one file that is no recording."""
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    (folder / "deep").mkdir()
    for number in range(12):
        soundfile.write(folder / "deep" / f"{number}.wav", 0.1 * generator.standard_normal(16_000 * 3), 16_000)
    (folder / "not audio.wav").write_text("this is text")
    return folder


@pytest.fixture(scope="module")
def log_mel_dir(audio_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings as one memory map."""
    folder = tmp_path_factory.mktemp("log_mels")
    result = run_recipe("prepare_log_mels.py", str(audio_dir), str(folder), "--window-frames", "300")
    assert result.returncode == 1
    assert "not audio.wav" in result.stderr
    return folder


def test_memory_map_holds_windows_in_the_order_of_names(log_mel_dir: Path) -> None:
    log_mels = open_log_mels(log_mel_dir)
    assert list(log_mels.names) == [f"deep/{n}.wav" for n in sorted(map(str, range(12))) for _ in (0, 1)]
    assert log_mels[0].shape == (80, 300)
    assert log_mels[0].dtype == np.float16
    assert read_statistics(log_mel_dir) is not None
    assert not list(log_mel_dir.glob("tmp*"))


def test_files_hold_the_published_layout(audio_dir: Path, tmp_path: Path) -> None:
    assert run_recipe("prepare_log_mels.py", str(audio_dir), str(tmp_path)).returncode == 1
    stored = np.load(tmp_path / "deep" / "3.wav.npy")
    assert stored.shape == (1, 80, 611)  # 6.1 s
    assert (tmp_path / "files.csv").read_text().splitlines()[:2] == ["file_name", '"deep/0.wav.npy"']


def test_m2d_trains_and_resumes(log_mel_dir: Path, tmp_path: Path) -> None:
    arguments = [
        str(ROOT / "train/configs/m2d_mini.yaml"),
        "--data-dir",
        str(log_mel_dir),
        "--output-dir",
        str(tmp_path),
    ]
    first = run_recipe("m2d.py", *arguments, *RUN, *tiny("model"))
    assert first.returncode == 0, first.stderr
    again = run_recipe("m2d.py", *arguments, *RUN, *tiny("model"), "--steps", "3")
    assert again.returncode == 0, again.stderr
    entries = read_log(tmp_path / "log.jsonl")
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    assert all(0 < entry["loss"] < 4 for entry in entries)
    encoder = AutoModel.from_pretrained(tmp_path / "model")
    assert encoder.config.embed_dim == 32


def test_m2d_clap_trains_and_opens_as_a_model(log_mel_dir: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    vectors = {str(n): generator.standard_normal((2, 12)).astype(np.float16) for n in range(12)}
    np.savez(tmp_path / "vectors.npz", **vectors)
    config = str(ROOT / "train/configs/m2d_clap_mini.yaml")
    folders = [
        "--data-dir",
        str(log_mel_dir),
        "--vectors",
        str(tmp_path / "vectors.npz"),
        "--output-dir",
        str(tmp_path),
    ]
    result = run_recipe("m2d_clap.py", config, *folders, *RUN, *tiny("model.audio_config"))
    assert result.returncode == 0, result.stderr
    assert read_log(tmp_path / "log.jsonl")[-1].keys() >= {"loss", "m2d", "contrastive"}
    model = M2DClapModel.from_pretrained(tmp_path / "model")
    assert model.get_audio_features(torch.zeros(1, 1, 80, 256)).pooler_output.shape == (1, 32)
