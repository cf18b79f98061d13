"""The readers of labelled corpora, each on a tiny made-up tree in the layout that its authors publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmret.data import CORPORA
from mmret.data.labelled import LabelledClip, speaker_parts
from mmret.errors import DataLayoutError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def esc50(root: Path) -> None:
    write(root, "meta/esc50.csv", "filename,fold,target,category\n1-1-A-0.wav,1,0,dog\n2-007-B-1.wav,2,1,sea_waves\n")
    touch(root, "audio/1-1-A-0.wav", "audio/2-007-B-1.wav")


def urbansound8k(root: Path) -> None:
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
    rows = "100032-3-0-0.wav,100032,0,0.3,1,5,3,dog_bark\n100263-2-0-117.wav,100263,58.5,62.5,1,10,2,siren\n"
    write(root, "metadata/UrbanSound8K.csv", header + rows)
    touch(root, "audio/fold5/100032-3-0-0.wav", "audio/fold10/100263-2-0-117.wav")


def speech_commands(root: Path) -> None:
    write(root, "validation_list.txt", "bed/0a_nohash_0.wav\n")
    write(root, "testing_list.txt", "cat/0b_nohash_1.wav\n")
    touch(root, "bed/0a_nohash_0.wav", "bed/0c_nohash_0.wav", "cat/0b_nohash_1.wav", "_background_noise_/pink.wav")


def voxceleb1(root: Path) -> None:
    names = ["id10001/1zcIwhmdeo4/00001.wav", "id10002/-xy/00002.wav", "id10001/J9lHsKG98U8/00003.wav"]
    write(root, "iden_split.txt", "".join(f"{number} {name}\n" for number, name in zip((1, 2, 3), names, strict=True)))
    touch(root, *(f"wav/{name}" for name in names))


def voxforge(root: Path) -> None:
    touch(root, *(f"de/speaker{n}-2010-x/wav/de{n}.wav" for n in range(10)), "ru/anonymous-2011-a/flac/ru1.flac")
    write(
        root, "split.csv", "file,part\nde/speaker3-2010-x/wav/de3.wav,test\nru/anonymous-2011-a/flac/ru1.flac,train\n"
    )


def crema_d(root: Path) -> None:
    touch(root, *(f"AudioWAV/{actor}_IEO_{mood}_XX.wav" for actor in range(1001, 1011) for mood in ("ANG", "SAD")))


def gtzan(root: Path) -> None:
    for part, line in (("train", "blues/blues.00029.wav"), ("valid", "rock/rock.00001.wav"), ("test", "pop/pop.1.wav")):
        write(root, f"{part}_filtered.txt", line + "\n")
    touch(root, "genres/blues/blues.00029.au", "genres/rock/rock.00001.wav", "genres/pop/pop.1.wav")


def nsynth(root: Path) -> None:
    for part, family in (("train", "bass"), ("valid", "flute"), ("test", "organ")):
        write(root, f"nsynth-{part}/examples.json", json.dumps({f"{family}_1": {"instrument_family_str": family}}))
        touch(root, f"nsynth-{part}/audio/{family}_1.wav")


def fsd50k(root: Path) -> None:
    dev = 'fname,labels,mids,split\n64760,"Guitar,Music","/m/1,/m/2",train\n0001,Bark,/m/3,val\n'
    write(root, "FSD50K.ground_truth/dev.csv", dev)
    write(root, "FSD50K.ground_truth/eval.csv", "fname,labels,mids\n37199,Bark,/m/3\n")
    touch(root, "FSD50K.dev_audio/64760.wav", "FSD50K.dev_audio/0001.wav", "FSD50K.eval_audio/37199.wav")


COMMENTS = "# Segments\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n"


def audioset(root: Path) -> None:
    write(root, "balanced_train_segments.csv", COMMENTS + '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n')
    write(root, "unbalanced_train_segments.csv", COMMENTS + '-0SdAVK79lg, 30.000, 40.000, "/m/04rlf"\n')
    write(root, "eval_segments.csv", COMMENTS + 'Y_4gqARaEJE, 0, 10, "/m/09x0r"\ngone4567890, 0, 10, "/m/09x0r"\n')
    touch(
        root, "balanced_train_segments/Y--4gqARaEJE.wav", "unbalanced_train_segments/a/Y-0SdAVK79lg_30.000_40.000.flac"
    )
    touch(root, "eval_segments/Y_4gqARaEJE_0.wav")


TREES: dict[str, tuple[Callable[[Path], None], list[tuple[str, tuple[str, ...], str]]]] = {
    "esc50": (esc50, [("1-1-A-0.wav", ("dog",), "1"), ("2-007-B-1.wav", ("sea waves",), "2")]),
    "urbansound8k": (
        urbansound8k,
        [("100032-3-0-0.wav", ("dog bark",), "5"), ("100263-2-0-117.wav", ("siren",), "10")],
    ),
    "speech_commands": (
        speech_commands,
        [
            ("0a_nohash_0.wav", ("bed",), "valid"),
            ("0c_nohash_0.wav", ("bed",), "train"),
            ("0b_nohash_1.wav", ("cat",), "test"),
        ],
    ),
    "voxceleb1": (
        voxceleb1,
        [
            ("00001.wav", ("id10001",), "train"),
            ("00002.wav", ("id10002",), "valid"),
            ("00003.wav", ("id10001",), "test"),
        ],
    ),
    "voxforge": (voxforge, [("de3.wav", ("de",), "test"), ("ru1.flac", ("ru",), "train")]),
    "gtzan": (
        gtzan,
        [
            ("blues.00029.au", ("blues",), "train"),
            ("rock.00001.wav", ("rock",), "valid"),
            ("pop.1.wav", ("pop",), "test"),
        ],
    ),
    "nsynth": (
        nsynth,
        [("bass_1.wav", ("bass",), "train"), ("flute_1.wav", ("flute",), "valid"), ("organ_1.wav", ("organ",), "test")],
    ),
    "fsd50k": (
        fsd50k,
        [
            ("64760.wav", ("Guitar", "Music"), "train"),
            ("0001.wav", ("Bark",), "valid"),
            ("37199.wav", ("Bark",), "test"),
        ],
    ),
    "audioset": (
        audioset,
        [
            ("Y--4gqARaEJE.wav", ("/m/068hy", "/m/07q6cd_"), "train"),
            ("Y-0SdAVK79lg_30.000_40.000.flac", ("/m/04rlf",), "train"),
            ("Y_4gqARaEJE_0.wav", ("/m/09x0r",), "test"),
        ],
    ),
    "audioset_balanced": (
        audioset,
        [("Y--4gqARaEJE.wav", ("/m/068hy", "/m/07q6cd_"), "train"), ("Y_4gqARaEJE_0.wav", ("/m/09x0r",), "test")],
    ),
    "crema_d": (crema_d, []),
}

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
    if name in ("crema_d",):  # what is there is the corpus
        assert lost.path not in [clip.path for clip in CORPORA[name].read(tmp_path)]
        return
    with pytest.raises(DataLayoutError, match=r"no AudioSet clip for train|recordings are not in") as error:
        CORPORA[name].read(tmp_path)
        (tmp_path / "unbalanced_train_segments.csv").write_text(COMMENTS)
        CORPORA[name].read(tmp_path)  # the second of audioset's two training clips is gone as well
    assert "fetch" in str(error.value)


def test_clips_that_no_copy_of_audioset_has_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audioset(tmp_path)
    assert len(CORPORA["audioset"].read(tmp_path)) == 3
    assert "lacks 1 of 4 clips" in caplog.text


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
