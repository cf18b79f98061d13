"""Labels and speech features find their recordings and their place in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmret.data.log_mel_folder import write_list
from mmret.data.offline_targets import SpeechFeatures, open_speech, read_tags
from mmret.errors import DataLayoutError

DIM = 3


def tags_file(folder: Path, *rows: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(["file_name,labels", *rows]) + "\n")
    return path


def test_labels_are_looked_up_by_name_stem_or_video_id(tmp_path: Path):
    path = tags_file(tmp_path, '"deep/a.wav","rain, dog"', "b,dog", "abcdefghijk,cat")
    tags = read_tags(path, ["deep/a.wav.npy", "x/b.flac.npy", "abcdefghijk_30.wav.npy"])
    assert list(tags.classes) == ["cat", "dog", "rain"]
    assert tags.labels.tolist() == [[0, 1, 1], [0, 1, 0], [1, 0, 0]]
    assert tags.of(1, 17, 5).tolist() == [0, 1, 0]


def test_a_recording_without_labels_is_named(tmp_path: Path):
    with pytest.raises(DataLayoutError, match=r"no labels for c\.wav"):
        read_tags(tags_file(tmp_path, "a,dog", "c.wav,"), ["a.npy", "c.wav.npy"])


def test_a_table_without_labels_is_refused(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("file_name\na\n")
    with pytest.raises(DataLayoutError, match="labels"):
        read_tags(path, ["a"])


def test_rare_labels_weigh_more(tmp_path: Path):
    rows = [f"{number},dog" for number in range(100)] + ['100,"dog,bell"']
    tags = read_tags(tags_file(tmp_path, *rows), [str(number) for number in range(101)])
    weights = tags.sampling_weights()
    dog, bell = 1000 / (101 + 100), 1000 / (1 + 100)
    np.testing.assert_allclose(weights[[0, 100]], [dog ** (1 / 1.5), (dog + bell) ** (1 / 1.5)])


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two recordings of 700 frames and 350 features that count; of the second all but 40 features are padding."""
    (tmp_path / "features").mkdir()
    names = ["a.npy", "b.npy"]
    for name in names:
        np.save(tmp_path / name, np.tile(np.arange(700, dtype=np.float32), (1, 80, 1)))
        np.save(tmp_path / "features" / name, np.arange(350, dtype=np.float16)[:, None].repeat(DIM, 1))
    write_list(tmp_path, names, {"valid_features": [301, 40]})
    return tmp_path


@pytest.mark.parametrize(("patch_frames", "expected"), [(2, (300, 104)), (4, (300, 104)), (8, (296, 104))])
def test_padding_is_left_out_except_what_a_crop_needs(speech: Path, patch_frames: int, expected: tuple[int, int]):
    log_mels = open_speech(speech, 208, patch_frames).log_mels
    assert (log_mels.features_of(0), log_mels.features_of(1)) == expected
    assert [log_mels[row].shape for row in (0, 1)] == [(80, 2 * count) for count in expected]


@pytest.mark.parametrize(("patch_frames", "steps"), [(2, 1), (4, 2)])
def test_features_begin_where_the_crop_begins_and_are_averaged_into_patches(
    speech: Path, patch_frames: int, steps: int
):
    features = open_speech(speech, 208, patch_frames)
    assert features.dim == DIM
    for start in (0, 7, 100):
        target = features.of(0, start, 208)
        assert target.shape == (104 // steps, DIM)
        first = start // 2 + np.arange(0, 104, steps) + (steps - 1) / 2
        np.testing.assert_allclose(target[:, 0], first)


def test_a_repeated_list_keeps_its_features(speech: Path):
    features = open_speech(speech, 208, 2)
    np.testing.assert_array_equal(features.of(7, 3, 208), features.of(1, 3, 208))


def test_features_that_end_too_early_are_refused(speech: Path):
    features = open_speech(speech, 208, 2)
    np.save(speech / "features" / "b.npy", np.zeros((90, DIM), np.float16))
    with pytest.raises(DataLayoutError, match=r"b\.npy.*speech_features"):
        features.of(1, 0, 208)


def test_features_that_are_no_array_are_refused(speech: Path):
    features: SpeechFeatures = open_speech(speech, 208, 2)
    (speech / "features" / "b.npy").write_bytes(b"no array")
    with pytest.raises(DataLayoutError, match="holds no features"):
        features.of(1, 0, 208)


def test_a_folder_of_log_mels_alone_is_refused_with_the_command(tmp_path: Path):
    write_list(tmp_path, ["a.npy"])
    with pytest.raises(DataLayoutError, match=r"train/speech_features\.py"):
        open_speech(tmp_path, 208, 2)
