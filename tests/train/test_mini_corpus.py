"""The recipe of mmret-mini from sounds to examples, on a made-up corpus."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.data.tiny_tagger import CLASSES
from tests.train.mini_tree import RATE, run, script, sound, write_everything


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """WORK_DIR with clips.npz, ESC-50 and the tagger."""
    work, esc50, tagger = write_everything(tmp_path_factory.mktemp("mini"))
    run("corpus", work, "--esc50", esc50, "--teacher", tagger, "--workers", 1)
    return work, esc50, tagger


def test_the_corpus_holds_each_sound_once_and_only_what_may_be_trained_on(tree):
    with np.load(tree[0] / "clips.npz") as corpus:
        names, sources, folds = (corpus[name].tolist() for name in ("name", "source", "fold"))
        assert len(corpus["offsets"]) == len(names) + 1
    packages = {name for name, source in zip(names, sources, strict=True) if source != "esc50"}
    # copy.wav is effect0.wav byte for byte, voices are left out, silence and text are no sound
    assert packages <= {f"sounds/{n}.wav" for n in ("copy", "effect1", "effect2", "effect3")} | {
        "sounds.pk3!fx/inside.wav"
    }
    esc = [name for name, source in zip(names, sources, strict=True) if source == "esc50"]
    assert len(esc) == 12 and set(folds) <= {0, 1, 2, 3}  # CC0 clips of folds 1-3


def test_the_summary_counts_what_was_kept(tree):
    summary = json.loads((tree[0] / "corpus.json").read_text())
    with np.load(tree[0] / "clips.npz") as corpus:
        assert summary["clips"] == len(corpus["name"]) and summary["esc50"] == 12


def test_a_package_clip_that_is_a_held_out_recording_is_dropped(tree, tmp_path):
    work, esc50, tagger = tree
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    shutil.copy(work / "packages" / "game-data" / "sounds" / "effect3.wav", held_out)
    again = tmp_path / "work"
    shutil.copytree(work / "packages", again / "packages")
    run("corpus", again, "--esc50", esc50, "--teacher", tagger, "--workers", 1, "--held-out", held_out)
    with np.load(again / "clips.npz") as corpus:
        assert "sounds/effect3.wav" not in corpus["name"].tolist()


@pytest.mark.parametrize(
    ("seconds", "clips", "longest"), [(0.1, 0, 0.0), (1.0, 1, 1.0), (7.4, 1, 5.0), (11.0, 2, 5.0), (90.0, 6, 5.0)]
)
def test_a_recording_gives_at_most_six_clips_of_five_seconds(seconds, clips, longest):
    pieces = script("corpus").to_clips(sound(1, seconds).astype(np.float32))
    assert len(pieces) == clips
    assert all(len(piece) <= longest * RATE for piece in pieces)


def test_the_members_of_a_sample_bank_are_found_one_after_another():
    one = b"RIFF" + (8).to_bytes(4, "little") + b"WAVEabcd"
    members = list(script("corpus")._riff_members(b"text" + one + b"more" + one, "bank.cat"))
    assert members == [("bank.cat#0", one), ("bank.cat#1", one)]


def test_a_package_of_speech_and_music_is_capped():
    corpus = script("corpus")
    clips = [corpus.Clip("songs", f"{row}.wav", np.ones(9, np.int16)) for row in range(300)]
    logits = np.full((300, 3), -5.0, np.float32)
    logits[:120, 0] = logits[120:290, 1] = 3.0
    keep = corpus.within_caps(clips, logits, ["Speech", "Music", "Dog"])
    assert (keep[:120].sum(), keep[120:290].sum(), keep[290:].sum()) == (80, 80, 10)


def test_examples_are_the_same_whoever_makes_them_and_a_stopped_run_goes_on(tree, tmp_path):
    work, _, tagger = tree
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    for folder in (whole, halved):
        folder.mkdir()
        shutil.copy(work / "clips.npz", folder)
    run("examples", whole, "--teacher", tagger, "--count", 12, "--workers", 1)
    maker = script("examples").ExampleMaker(halved, tagger)
    script("examples").allocate(halved / "examples", 12, 8)
    maker.write(range(5, 12), 0)
    maker.write(range(0, 5), 0)
    for name, width in (("log_mel", 80), ("map", 8), ("logits", len(CLASSES))):
        first, second = (np.load(folder / "examples" / f"{name}.npy") for folder in (whole, halved))
        assert first.shape[:2] == (12, width)
        np.testing.assert_allclose(first.astype(np.float32), second.astype(np.float32), atol=2e-2)


def test_a_placed_clip_fills_an_example_and_stays_itself_inside():
    examples = script("examples")
    rng = np.random.default_rng(1)
    for seconds in (0.2, 1.0, 2.56, 5.0):
        piece = examples.placed(sound(2, seconds).astype(np.float32), rng)
        assert piece.shape == (examples.SAMPLES,) and np.abs(piece).max() > 0.05


def test_an_example_never_clips_and_is_never_silent():
    examples = script("examples")

    class Pool:
        def draw(self, rng):
            return sound(int(rng.integers(9)), 1.0).astype(np.float32)

    waves = [examples.example(Pool(), np.random.default_rng(seed)) for seed in range(20)]
    assert all(1e-3 < np.abs(wave).max() <= 1.0 for wave in waves)


def test_a_flat_filter_changes_nothing():
    examples = script("examples")

    class Flat:
        def uniform(self, low, high, size):
            return np.zeros(size)

    wave = sound(3, 2.56).astype(np.float32)
    np.testing.assert_allclose(examples.filtered(wave, Flat())[200:-200], wave[200:-200], atol=2e-3)
