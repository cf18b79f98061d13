"""Splits, vectors of clips, and heads learnt from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmret.data.labelled import LabelledClip
from mmret.errors import DataLayoutError
from mmret.heads import LinearConfig
from mmret.tasks.transfer import (
    ClipVectors,
    Labelled,
    clip_vectors,
    learn_and_test,
    own_split,
    published_splits,
    whole_vectors,
    with_validation,
)
from tests.tasks.fake_encoder import SAMPLE_RATE, FakeEncoder, write_tone


def labelled(parts: str, labels: str, *, multi_label: bool = False) -> Labelled:
    pairs = zip(labels, parts.split("/"), strict=True)
    clips = [LabelledClip(Path(f"{number}.wav"), (label,), part) for number, (label, part) in enumerate(pairs)]
    return Labelled.of(clips, multi_label=multi_label)


def test_labels_are_numbered_in_sorted_order() -> None:
    clips = [LabelledClip(Path("a"), ("rain", "dog"), "train"), LabelledClip(Path("b"), (), "test")]
    data = Labelled.of(clips, multi_label=True)
    assert data.classes == ["dog", "rain"]
    assert data.targets.tolist() == [[1, 1], [0, 0]]


def test_every_fold_is_the_test_in_turn_or_some_are_held_out_together() -> None:
    data = labelled("1/2/10/2/1/10", "ababab")
    assert [(split.name, split.test.tolist()) for split in published_splits(data)] == [
        ("1", [0, 4]),
        ("2", [1, 3]),
        ("10", [2, 5]),
    ]
    (split,) = published_splits(data, ["2", "10"])
    assert (split.train.tolist(), split.valid, split.test.tolist()) == ([0, 4], None, [1, 2, 3, 5])


def test_a_corpus_in_parts_has_one_split() -> None:
    (split,) = published_splits(labelled("train/valid/test/train", "abab"))
    assert (split.train.tolist(), split.valid.tolist(), split.test.tolist()) == ([0, 3], [1], [2])
    assert published_splits(labelled("train/test", "ab"))[0].valid is None


@pytest.mark.parametrize(
    ("parts", "folds", "message"),
    [
        ("train/valid", None, "no clip is of the part test"),
        ("1/2", ["3"], "no such fold: 3; there are 1, 2"),
        ("1/1", None, "all recordings are in fold 1; a second fold is needed"),
        ("train/test", ["1"], "folds cannot be chosen"),
    ],
)
def test_parts_that_are_lacking_are_named(parts: str, folds: list[str] | None, message: str) -> None:
    with pytest.raises(DataLayoutError, match=message):
        published_splits(labelled(parts, "ab"), folds)


def test_without_parts_a_fifth_of_each_label_is_held_out_by_the_seed() -> None:
    data = labelled("/" * 39, "a" * 30 + "b" * 8 + "cc")
    splits = [own_split(data, seed=seed) for seed in (1, 1, 2)]
    labels = data.targets.argmax(axis=1)
    assert np.bincount(labels[splits[0].test]).tolist() == [6, 2, 1]
    assert set(splits[0].train) | set(splits[0].test) == set(range(40))
    assert not set(splits[0].train) & set(splits[0].test)
    assert splits[0].test.tolist() == splits[1].test.tolist() != splits[2].test.tolist()


def test_the_last_fold_is_held_out_unless_others_are_asked_for() -> None:
    data = labelled("1/1/9/9/10/10", "ababab")
    assert own_split(data, seed=0).test.tolist() == [4, 5]
    assert own_split(data, seed=0, test_folds=["1"]).test.tolist() == [0, 1]
    with pytest.raises(DataLayoutError, match="no column fold"):
        own_split(labelled("/" * 7, "aaaabbbb"), seed=0, test_folds=["1"])


def test_what_is_tested_must_be_learnt() -> None:
    with pytest.raises(DataLayoutError, match="no recording of c is in the training part"):
        own_split(labelled("train/train/test/test", "abcc"), seed=0)
    with pytest.raises(DataLayoutError, match="fewer than two labels"):
        own_split(labelled("train/train/test/test", "aabb"), seed=0)


def test_validation_rows_leave_training_and_given_ones_stay() -> None:
    data = labelled("1/" * 19 + "2", "ab" * 10)
    (first, _) = published_splits(data)
    drawn = with_validation(data, published_splits(data, ["2"])[0], 0.2, seed=3)
    assert drawn.valid is not None and len(drawn.valid) == 4
    assert set(drawn.valid) | set(drawn.train) == set(range(19))
    assert with_validation(data, drawn, 0.2, seed=3) is drawn
    assert first.valid is None


def test_too_few_recordings_to_stop_by_are_told() -> None:
    data = labelled("/" * 3, "aabb")
    with pytest.raises(DataLayoutError, match="three recordings of a label are the least"):
        with_validation(data, own_split(data, seed=0), 0.1, seed=0)
    more = labelled("/" * 4, "aabbb")
    drawn = with_validation(more, own_split(more, seed=0), 0.1, seed=0)
    assert [len(rows) for rows in (drawn.train, drawn.valid, drawn.test)] == [2, 1, 2]


@pytest.fixture
def tones(tmp_path: Path) -> list[Path]:
    """Twelve low and twelve high tones."""
    return [write_tone(tmp_path / f"{n}.wav", 300 if n < 12 else 1500, 0.5 + n % 3 / 2, seed=n) for n in range(24)]


def test_clips_of_one_length_start_anywhere_in_training_and_at_the_beginning_in_the_test(tones: list[Path]) -> None:
    lengths: list[int] = []

    class Counting(FakeEncoder):
        def encode_scenes(self, recordings: list[object]) -> np.ndarray:
            lengths.extend(len(one) for one in recordings)  # type: ignore[arg-type]
            return super().encode_scenes(recordings)

    vectors = clip_vectors(Counting(), tones[:3], 1.0, seed=0).vectors
    assert set(lengths) == {SAMPLE_RATE}
    assert len(lengths) == 4  # the third recording alone is longer than a clip
    same = [np.array_equal(train, test) for train, test in zip(vectors.train, vectors.test, strict=True)]
    assert same == [True, True, False]
    again = clip_vectors(FakeEncoder(), tones[:3], 1.0, seed=0).vectors
    np.testing.assert_array_equal(again.train, vectors.train)


def test_clips_of_a_corpus_that_cannot_be_read_are_left_out_and_told(tones: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    heard = clip_vectors(FakeEncoder(), [tones[0], tmp_path / "text.wav", tones[2]], 1.0, seed=0)
    assert heard.rows.tolist() == [0, 2]
    (fault,) = heard.failed
    assert "text.wav" in fault
    whole = clip_vectors(FakeEncoder(), tones[:3], 1.0, seed=0).vectors
    np.testing.assert_array_equal(heard.vectors.train, whole.train[[0, 2]])
    data = labelled("1/1/2", "abc").only(heard.rows)
    assert (data.classes, data.targets.tolist()) == (["a", "b", "c"], [[1, 0, 0], [0, 0, 1]])
    with pytest.raises(DataLayoutError, match="none of 1 recordings"):
        clip_vectors(FakeEncoder(), [tmp_path / "text.wav"], 1.0, seed=0)


def test_recordings_that_fail_are_named_together(tones: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    told: list[int] = []
    with pytest.raises(DataLayoutError, match=r"2 of 4 recordings cannot be used") as error:
        paths = [tones[0], tmp_path / "text.wav", tmp_path / "missing.wav", tones[1]]
        whole_vectors(FakeEncoder(), paths, tell=told.append)
    assert "text.wav" in str(error.value) and "missing.wav: no such file" in str(error.value)
    assert told == [1, 2, 3, 4]


def test_a_head_tells_two_tones_apart(tones: list[Path]) -> None:
    clips = [LabelledClip(path, ("low" if row < 12 else "high",), str(row % 4)) for row, path in enumerate(tones)]
    data = Labelled.of(clips)
    vectors = whole_vectors(FakeEncoder(), tones)
    (split,) = published_splits(data, ["3"])
    tested = [
        learn_and_test(data, ClipVectors(vectors, vectors), split, LinearConfig(learning_rate=1e-2), seed=seed)
        for seed in (42, 42, 43)
    ]
    assert [one.score for one in tested] == [1.0] * 3
    np.testing.assert_array_equal(tested[0].logits, tested[1].logits)
    assert not np.array_equal(tested[0].logits, tested[2].logits)
