"""eval/pretraining_study.py: every arm is a command, a run that is there is not made again, seeds are joined."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmret.data.log_mel_folder import open_log_mels
from mmret.data.offline_targets import open_speech
from tests.conftest import ROOT


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "eval"))


@pytest.fixture
def study(neighbours, script):
    return script("pretraining_study")


@pytest.fixture
def probes(neighbours, script):
    return script("study_probes")


@pytest.fixture
def corpora(neighbours, script):
    return script("study_corpora")


def test_the_deviation_is_over_seeds(study) -> None:
    result = study.joined([{"a": 0.5}, {"a": 0.7}, {"a": 0.6}])["a"]
    assert (result["mean"], result["deviation"]) == (pytest.approx(0.6), pytest.approx(0.1))
    assert study.joined([{"a": 0.5}])["a"]["deviation"] == 0.0


def test_every_arm_names_a_recipe_and_a_configuration_and_knows_its_folders(study, monkeypatch, tmp_path) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: started.append(command))
    folders = {"corpus": "C", "base": "B", "digits": "D", "speech": "S"}
    arms = [arm for arms in study.STUDIES.values() for arm in arms if arm.source == "trained"]
    for number, arm in enumerate(arms):
        study.train(arm, 7, 100, folders, tmp_path / str(number))
    assert len(started) == len(arms) == 11
    for _, recipe, config, *words in started:
        assert Path(recipe).is_file() and Path(config).is_file()
        assert not any("{" in word for word in words)
        assert words[words.index("--seed") + 1] == "7"
        assert words[words.index("--target_decay") + 1] == "[0.86, 0.97]"


def test_a_run_that_was_measured_is_not_made_again(study, tmp_path, capsys) -> None:
    arms = study.STUDIES["target"]
    for arm in arms:
        for seed in range(2):
            folder = tmp_path / "work" / "target" / arm.name / str(seed)
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps({"esc50": 0.25 * (1 + seed)}))
    paths = ["--work", tmp_path / "work", "--corpus", tmp_path, "--esc50", tmp_path, "--out-dir", tmp_path / "out"]
    study.main(["target", "--seeds", "2", *map(str, paths)])
    results = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").iterdir())]
    assert [result["protocol"]["label"] for result in results] == [arm.label for arm in arms]
    assert results[-1]["metrics"]["esc50"] == {
        "mean": 0.375,
        "deviation": pytest.approx(0.176777),
        "values": [0.25, 0.5],
    }
    assert results[0]["protocol"]["seeds"] == 1  # the log-mel mean has none


def test_a_study_says_which_corpus_it_lacks(study, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        study.main(["speech", "--work", str(tmp_path), "--corpus", "C", "--esc50", "E", "--digits", "D"])
    assert "needs --voices" in capsys.readouterr().err


def test_noise_lies_below_the_wave_by_the_stated_ratio(probes) -> None:
    generator = np.random.default_rng(0)
    wave, noise = generator.standard_normal(8000).astype(np.float32), generator.standard_normal(500).astype(np.float32)
    added = probes.in_noise(wave, noise, generator) - wave
    ratio_db = 10 * np.log10(np.square(wave).mean() / np.square(added).mean())
    assert ratio_db == pytest.approx(probes.NOISE_SNR_DB, abs=0.01)
    np.testing.assert_array_equal(probes.in_noise(wave, 0 * noise, generator), wave)


def test_probes_of_digits_hold_a_speaker_out(probes) -> None:
    generator = np.random.default_rng(0)
    digit, speaker = np.tile(np.arange(4), 30), np.repeat(np.arange(5), 24)
    clean = generator.standard_normal((120, 80, 8)).astype(np.float16) * np.float16(0.1)
    clean[np.arange(120), digit] += 3  # each digit has a band of its own, whoever says it
    noisy = generator.standard_normal(clean.shape).astype(np.float16)
    spoken = SimpleNamespace(clean=clean, noisy=noisy, digit=digit, speaker=speaker, test=np.arange(120) % 6 == 0)
    figures = probes.probe_digits(probes.log_mel_mean, spoken)
    assert figures["digit"] == 1.0 and figures["digit_new_speaker"] > 0.9
    assert figures["digit_in_noise"] < 0.8


def test_speech_is_stored_as_the_recipe_reads_it(corpora, monkeypatch, tmp_path) -> None:
    generator = np.random.default_rng(0)
    clean = (generator.standard_normal((5, 80, 257)) - 8).astype(np.float16)
    spoken = SimpleNamespace(clean=clean, test=np.array([True, False, False, True, False]))
    monkeypatch.setattr(corpora, "_read_speech", lambda root: clean[:2, :, :256])
    folder = corpora.speech_corpus(spoken, tmp_path, tmp_path / "speech")
    targets = open_speech(folder, 208, 4)
    assert (len(targets.log_mels.names), targets.dim) == (5, 39)
    assert targets.of(4, 0, 208).shape == (52, 39)
    np.testing.assert_array_equal(targets.log_mels[0], clean[1, :, :256])  # the held-out part is left out

    digits = open_log_mels(corpora.digits_corpus(spoken, tmp_path / "digits"))
    assert len(digits.names) == 3 and digits[0].shape == (80, 256)


def test_cepstra_of_a_steady_sound_do_not_change(corpora) -> None:
    steady = np.tile(np.linspace(-9, -3, 80, dtype=np.float32)[:, None], 20)
    cepstra = corpora.cepstra(steady)
    assert cepstra.shape == (10, 39)
    np.testing.assert_allclose(cepstra[:, 13:], 0, atol=1e-5)
    assert np.abs(cepstra[:, 0]).min() > 10
