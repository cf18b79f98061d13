"""eval/hearts.py and its protocol: what a database that is left out cannot change, and a run on made-up hearts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmret.tasks.heart_model import HeartModel
from tests.eval.conftest import SCRIPTS
from tests.heart_sounds import heart

pytest.importorskip("sklearn", reason="the head needs scikit-learn")
SETS = ("good", "bad")


@pytest.fixture
def protocol(script):
    return script("hearts_protocol")


@pytest.fixture
def clips(protocol):
    """Three databases of twelve clips, half of them abnormal."""
    return protocol.Clips(np.tile([True, False], 18), np.repeat(["a", "b", "c"], 12))


@pytest.fixture
def sets(clips) -> dict[str, np.ndarray]:
    """One set that tells the classes apart everywhere, one that only tells databases apart; both shifted by device."""
    generator = np.random.default_rng(0)
    device = (clips.database == "b")[:, None] * 0.3
    noise = generator.normal(size=(36, 4))
    return {"good": 2.0 * clips.abnormal[:, None] + noise + device, "bad": noise + 5 * device}


@pytest.mark.parametrize("setting", ["INDUCTIVE", "BATCH"])
def test_labels_of_the_database_left_out_change_nothing_about_it(protocol, clips, sets, setting) -> None:
    choices = protocol.candidates(SETS, getattr(protocol, setting))
    out = clips.database == "c"
    flipped = replace(clips, abnormal=np.where(out, ~clips.abnormal, clips.abnormal))

    def outcome(known):
        names = {
            name: protocol.inner_scores(sets[name], known, protocol.candidates([name], getattr(protocol, setting)))
            for name in SETS
        }
        inner = {letter: {k: v for name in SETS for k, v in names[name][letter].items()} for letter in "abc"}
        assert {choice for choice in inner["c"]} == set(choices)
        return protocol.leave_one_out(sets, known, inner)

    plain, other = outcome(clips), outcome(flipped)
    assert plain.chosen["c"] == other.chosen["c"]
    np.testing.assert_array_equal(plain.scores[out], other.scores[out])
    assert plain.chosen["c"].features == "good"


def test_features_of_the_database_left_out_do_not_choose_for_it(protocol, clips, sets) -> None:
    choices = protocol.candidates(["good"], protocol.INDUCTIVE)
    moved = sets["good"] + 100.0 * (clips.database == "c")[:, None]
    assert protocol.inner_scores(sets["good"], clips, choices)["c"] == protocol.inner_scores(moved, clips, choices)["c"]


@pytest.mark.parametrize("centring", ["pooled", "each_database", "batch"])
def test_a_clip_is_judged_alone_unless_it_is_a_batch(protocol, clips, sets, centring) -> None:
    train, test = clips.database != "c", np.flatnonzero(clips.database == "c")
    choice = protocol.Choice("good", centring, 0.1)
    features = sets["good"]

    def scores(rows):
        return protocol.linear_scores(features[train], features[rows], clips.rows(train), choice)

    alike = np.allclose(scores(test)[:3], scores(test[:3]))
    assert alike == (centring != "batch")


def test_a_batch_takes_the_shift_of_a_device_away(protocol, clips, sets) -> None:
    shifted = sets["good"] + 50.0 * (clips.database == "c")[:, None]
    alone, batch = (
        protocol.held_out_scores(shifted, clips, protocol.Choice("good", centring, 0.1))
        for centring in ("pooled", "batch")
    )
    out = clips.database == "c"
    assert protocol.macc(alone[out], clips.abnormal[out]) == 0.5  # all on one side of the threshold
    assert protocol.macc(batch[out], clips.abnormal[out]) > 0.9


def test_every_class_of_every_database_weighs_the_same(protocol) -> None:
    clips = protocol.Clips(np.array([True, False, False, True]), np.array(["a", "a", "a", "b"]))
    np.testing.assert_allclose(protocol.cell_weights(clips), np.array([4, 2, 2, 4]) / 3)


def test_random_folds_share_every_class_of_every_database(protocol) -> None:
    clips = protocol.Clips(np.tile([True, False], 20), np.repeat(["a", "b"], 20))
    folds = protocol.random_folds(clips, seed=1)
    for letter in "ab":
        for label in (True, False):
            rows = (clips.database == letter) & (clips.abnormal == label)
            assert np.bincount(folds[rows]).tolist() == [2] * 5
    assert (folds != protocol.random_folds(clips, seed=2)).any()


def test_the_interval_holds_the_mean(protocol, clips, sets) -> None:
    scores = protocol.held_out_scores(sets["good"], clips, protocol.Choice("good", "pooled", 0.1))
    low, high = protocol.mean_macc_interval(scores, clips, np.random.default_rng(0))
    assert low <= protocol.mean_macc(scores, clips) <= high < 1.01


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three databases of made-up hearts; a murmur is abnormal."""
    root = tmp_path_factory.mktemp("hearts")
    rows = ["file,database,label"]
    for number in range(24):
        letter, ill = "abc"[number // 8], number % 2
        wave = heart(4, murmur=0.15 * ill, period_s=0.7 + 0.02 * (number % 8), seed=number)
        soundfile.write(root / f"{number}.flac", wave, 2000)
        rows.append(f"{number}.flac,{letter},{'abnormal' if ill else 'normal'}")
    (root / "meta.csv").write_text("\n".join(rows) + "\n")
    return root


def test_rows_and_model_of_made_up_hearts(script, recordings, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    hearts = script("hearts")
    monkeypatch.setattr(hearts, "HEART_FEATURES", {name: None for name in ("cycle_contrast", "period_profile")})
    words = ["--data", str(recordings), "--out-dir", str(tmp_path), "--save", str(tmp_path / "model")]
    hearts.main([*words, "--only", "4"])
    result = json.loads((tmp_path / "hearts_04.json").read_text())
    assert result["protocol"]["label"] == "cycle_contrast"
    assert result["metrics"]["across"] > 0.9 and result["metrics"]["across_deviation"] == 0
    assert set(result["per_database"]) == {"a", "b", "c"}
    assert {one[0] for one in result["chosen"]["alone"].values()} == {"cycle_contrast"}
    assert HeartModel.open(tmp_path / "model").features in {"cycle_contrast", "period_profile"}
    assert "cycle_contrast: across" in capsys.readouterr().out
