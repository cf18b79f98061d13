"""The model that ships does the job it ships for: on the sample recordings, offline, on onnxruntime."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmret.audio.decode import decode
from mmret.cli.demo import SAMPLES
from mmret.encoder import Encoder
from mmret.encoder.encoder import PRETRAINED
from mmret.tasks.classify import classify
from mmret.tasks.search import Hit, Index
from tests.end_to_end.test_light_path import HEAVY, loaded_by

MODEL = "mmret-mini"
FOLDER = PRETRAINED / MODEL
PLANTED = {"rooster": "a rooster crows", "church_bell": "a church bell tolls", "baby": "a baby cries"}
LABELS = {
    "rooster": "rooster",
    "church_bell": "church bells",
    "baby": "crying baby",
    "applause": "clapping",
    "sheep": "sheep",
    "helicopter": "helicopter",
    "crickets": "crickets",
    "cow": "cow",
}

pytestmark = pytest.mark.skipif(not (FOLDER / "mmret.json").is_file(), reason=f"{FOLDER} is not in this checkout")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The model by its name, as a user opens it."""
    return Encoder.from_pretrained(MODEL, runtime="onnx")


@pytest.fixture(scope="module")
def captions() -> dict[Path, str]:
    """What can be heard in each sample recording."""
    with (SAMPLES / "samples.csv").open(encoding="utf-8", newline="") as file:
        return {SAMPLES / row["file"]: row["caption"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def samples(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of the sample recordings."""
    with Index.open(tmp_path_factory.mktemp("samples") / "index", encoder) as index:
        assert index.add(SAMPLES).failed == []
        yield index


def test_most_samples_are_found_by_their_captions(samples: Index, captions: dict[Path, str]) -> None:
    found = [path in {hit.path for hit in samples.search(caption, k=3)} for path, caption in captions.items()]
    assert len(found) >= 24
    assert np.mean(found) >= 0.5  # chance is 0.08


def test_a_sample_finds_itself_first(samples: Index, captions: dict[Path, str]) -> None:
    found = [samples.search_audio(path, k=1)[0].path == path for path in captions]
    assert np.mean(found) >= 0.8  # the question is the mean of the windows, an answer one of them


def test_onnx_and_torch_give_the_same_vectors(encoder: Encoder, captions: dict[Path, str]) -> None:
    by_torch = Encoder.from_pretrained(MODEL, runtime="torch")
    assert (by_torch.runtime, by_torch.fingerprint) == ("torch", encoder.fingerprint)
    paths, sentences = list(captions)[:3], list(captions.values())[:3]
    np.testing.assert_allclose(by_torch.encode_audio(paths), encoder.encode_audio(paths), atol=1e-4)
    np.testing.assert_allclose(by_torch.encode_text(sentences), encoder.encode_text(sentences), atol=1e-4)


def test_alone_or_in_a_batch_a_sound_has_the_same_vector(encoder: Encoder, captions: dict[Path, str]) -> None:
    length = round(encoder.windows.window_s * encoder.sample_rate)
    waveforms = [np.resize(decode(path, encoder.sample_rate), length) for path in list(captions)[:5]]
    together = encoder.encode_waveforms(waveforms)
    alone = np.concatenate([encoder.encode_waveforms([waveform]) for waveform in waveforms])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def plant(path: Path, minutes: int, places_s: dict[str, float]) -> Path:
    """Low noise of some minutes with a few of the samples in it."""
    rate = 16_000
    noise = 0.002 * np.random.Generator(np.random.PCG64(5)).standard_normal(60 * minutes * rate, np.float32)
    for name, place_s in places_s.items():
        sample = decode(SAMPLES / f"{name}.ogg", rate)
        start = round(place_s * rate)
        noise[start : start + len(sample)] += 0.5 * sample / np.abs(sample).max()
    soundfile.write(path, noise, rate)
    return path


def assert_found(hit: Hit, name: str, place_s: float, window_s: float) -> None:
    """The best window lies within one window of the sample."""
    sample_s = soundfile.info(SAMPLES / f"{name}.ogg").duration
    assert place_s - window_s <= hit.peak_start_s
    assert hit.peak_stop_s <= place_s + sample_s + window_s


def test_samples_planted_in_minutes_of_noise_are_found_in_their_places(encoder: Encoder, tmp_path: Path) -> None:
    places_s = dict(zip(PLANTED, (31.7, 66.3, 93.1), strict=True))
    with Index.open(tmp_path / "index", encoder) as index:
        index.add(plant(tmp_path / "noise.flac", 2, places_s))
        for name, place_s in places_s.items():
            for hit in (index.search(PLANTED[name], k=1)[0], index.search_audio(SAMPLES / f"{name}.ogg", k=1)[0]):
                assert_found(hit, name, place_s, encoder.windows.window_s)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place_s"), [("rooster", 1234.56), ("church_bell", 77.7)])
def test_a_sample_planted_in_half_an_hour_of_noise_is_found_in_its_place(
    encoder: Encoder, tmp_path: Path, name: str, place_s: float
) -> None:
    with Index.open(tmp_path / "index", encoder) as index:
        report = index.add(plant(tmp_path / "noise.flac", 30, {name: place_s}))
        assert report.seconds_of_audio == 1800
        for hit in (index.search(PLANTED[name], k=1)[0], index.search_audio(SAMPLES / f"{name}.ogg", k=1)[0]):
            assert_found(hit, name, place_s, encoder.windows.window_s)


def test_clear_samples_get_their_own_label_first(encoder: Encoder) -> None:
    report = classify(encoder, [SAMPLES / f"{name}.ogg" for name in LABELS], list(LABELS.values()))
    assert report.failed == []
    first = {Path(result.path).stem: result.labels[0].label for result in report.results}
    assert sum(first[name] == label for name, label in LABELS.items()) >= 6


def test_a_search_in_a_fresh_process_loads_neither_torch_nor_transformers(samples: Index) -> None:
    hits, packages = loaded_by("search", samples.folder, "a rooster crowing at dawn", "-k", "3", "--json")
    assert len(hits) == 3
    assert not packages & HEAVY
