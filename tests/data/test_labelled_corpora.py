"""The readers of labelled corpora, each on a tiny made-up tree in the layout that its authors publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmret.data import CORPORA
from mmret.data.labelled import LabelledClip, speaker_parts
from mmret.errors import DataLayoutError
from tests.data.made_up_corpora import COMMENTS, TREES, audioset, crema_d, touch, voxforge, write

by_name = pytest.mark.parametrize("name", CORPORA)


def facts(clips: list[LabelledClip]) -> list[tuple[str, tuple[str, ...], str]]:
    return [(clip.path.name, clip.labels, clip.part) for clip in clips]


@by_name
def test_the_published_layout_gives_paths_labels_and_parts(name: str, tmp_path: Path) -> None:
    make, expected = TREES[name]
    make(tmp_path)
    clips = CORPORA[name].read(tmp_path)
    assert clips and all(clip.path.is_file() for clip in clips)
    assert not expected or facts(clips) == expected


@by_name
def test_an_empty_folder_says_what_to_fetch_and_where_to_put_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"fetch (.|\n)*(folder|put|give)") as error:
        CORPORA[name].read(tmp_path)
    assert str(tmp_path) in str(error.value)


@by_name
def test_a_recording_that_is_missing_is_named_unless_no_copy_is_whole(name: str, tmp_path: Path) -> None:
    make, _ = TREES[name]
    make(tmp_path)
    lost = CORPORA[name].read(tmp_path)[0]
    lost.path.unlink()
    if name in ("crema_d", "audioset", "audioset_balanced"):  # what is there is the corpus
        assert lost.path not in [clip.path for clip in CORPORA[name].read(tmp_path)]
        return
    with pytest.raises(DataLayoutError, match=r"1 of \d+ recordings are not in (.|\n)*fetch"):
        CORPORA[name].read(tmp_path)


def test_a_copy_of_audioset_without_a_part_is_refused(tmp_path: Path) -> None:
    audioset(tmp_path)
    (tmp_path / "eval_segments.csv").write_text(COMMENTS)
    with pytest.raises(DataLayoutError, match=r"no AudioSet clip for test(.|\n)*fetch"):
        CORPORA["audioset"].read(tmp_path)


def test_clips_that_no_copy_of_audioset_has_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audioset(tmp_path)
    assert len(CORPORA["audioset"].read(tmp_path)) == 4
    assert "lacks 1 of 5 clips" in caplog.text


def test_speakers_never_cross_parts_and_always_fall_into_the_same_ones(tmp_path: Path) -> None:
    crema_d(tmp_path)
    clips = CORPORA["crema_d"].read(tmp_path)
    by_actor = {(clip.path.name[:4], clip.part) for clip in clips}
    assert len(by_actor) == 10
    assert [sum(part == name for _, part in by_actor) for name in ("train", "valid", "test")] == [7, 1, 2]
    actors = [str(1001 + row) for row in range(91)]
    parts = speaker_parts(actors)
    assert parts == speaker_parts(actors[::-1])
    assert [list(parts.values()).count(name) for name in ("train", "valid", "test")] == [63, 9, 19]


def test_voxforge_without_a_list_is_divided_by_speakers(tmp_path: Path) -> None:
    voxforge(tmp_path)
    (tmp_path / "split.csv").unlink()
    clips = CORPORA["voxforge"].read(tmp_path)
    assert [clip.labels[0] for clip in clips] == ["de"] * 10 + ["ru"]
    assert {clip.part for clip in clips} == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("voxceleb1", "iden_split.txt", "4 id1/a/1.wav\n", "is not a number 1 to 3 and a file"),
        ("voxforge", "split.csv", "file,part\na.wav,dev\n", "'dev' is no part"),
        ("nsynth", "nsynth-valid/examples.json", "[1]", "is not NSynth's table of notes"),
        ("fsd50k", "FSD50K.ground_truth/dev.csv", "fname,labels,split\n1,Bark,other\n", "more than train and val"),
        ("audioset", "eval_segments.csv", "abc\n", "has not the four columns"),
        ("urbansound8k", "metadata/UrbanSound8K.csv", "fold,class\n", "lacks the columns slice_file_name"),
    ],
)
def test_a_damaged_table_is_named(name: str, file: str, text: str, message: str, tmp_path: Path) -> None:
    TREES[name][0](tmp_path)
    write(tmp_path, file, text)
    with pytest.raises(DataLayoutError, match=message):
        CORPORA[name].read(tmp_path)


def test_a_file_of_crema_d_with_another_name_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "AudioWAV/1001_IEO_JOY_XX.wav")
    with pytest.raises(DataLayoutError, match="is not named ACTOR_SENTENCE_EMOTION_LEVEL"):
        CORPORA["crema_d"].read(tmp_path)
