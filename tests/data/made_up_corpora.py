"""Tiny trees of labelled corpora, each in the layout that its authors publish; recordings are empty files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def esc50(root: Path) -> None:
    rows = ["1-1-A-0.wav,1,0,dog", "1-2-A-1.wav,1,1,sea_waves", "2-007-B-1.wav,2,1,sea_waves", "2-3-A-0.wav,2,0,dog"]
    write(root, "meta/esc50.csv", "\n".join(["filename,fold,target,category", *rows]))
    touch(root, *(f"audio/{row.partition(',')[0]}" for row in rows))


def urbansound8k(root: Path) -> None:
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
    rows = "100032-3-0-0.wav,100032,0,0.3,1,5,3,dog_bark\n100263-2-0-117.wav,100263,58.5,62.5,1,10,2,siren\n"
    write(root, "metadata/UrbanSound8K.csv", header + rows)
    touch(root, "audio/fold5/100032-3-0-0.wav", "audio/fold10/100263-2-0-117.wav")


def speech_commands(root: Path) -> None:
    write(root, "validation_list.txt", "bed/0a_nohash_0.wav\n")
    write(root, "testing_list.txt", "cat/0b_nohash_1.wav\n")
    touch(root, "bed/0a_nohash_0.wav", "bed/0c_nohash_0.wav", "cat/0b_nohash_1.wav", "cat/0d_nohash_0.wav")
    touch(root, "_background_noise_/pink.wav")


def voxceleb1(root: Path) -> None:
    names = ["id10001/1zcIwhmdeo4/00001.wav", "id10002/-xy/00002.wav", "id10001/J9l/00003.wav", "id10002/a/00004.wav"]
    parts = zip((1, 2, 3, 1), names, strict=True)
    write(root, "iden_split.txt", "".join(f"{number} {name}\n" for number, name in parts))
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
    balanced = '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\nabcdefghijk, 0.000, 10.000, "/m/09x0r"\n'
    write(root, "balanced_train_segments.csv", COMMENTS + balanced)
    write(root, "unbalanced_train_segments.csv", COMMENTS + '-0SdAVK79lg, 30.000, 40.000, "/m/04rlf"\n')
    write(root, "eval_segments.csv", COMMENTS + 'Y_4gqARaEJE, 0, 10, "/m/09x0r"\ngone4567890, 0, 10, "/m/09x0r"\n')
    touch(
        root, "balanced_train_segments/Y--4gqARaEJE.wav", "unbalanced_train_segments/a/Y-0SdAVK79lg_30.000_40.000.flac"
    )
    touch(root, "eval_segments/Y_4gqARaEJE_0.wav", "balanced_train_segments/abcdefghijk.wav")


TREES: dict[str, tuple[Callable[[Path], None], list[tuple[str, tuple[str, ...], str]]]] = {
    "esc50": (
        esc50,
        [
            ("1-1-A-0.wav", ("dog",), "1"),
            ("1-2-A-1.wav", ("sea waves",), "1"),
            ("2-007-B-1.wav", ("sea waves",), "2"),
            ("2-3-A-0.wav", ("dog",), "2"),
        ],
    ),
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
            ("0d_nohash_0.wav", ("cat",), "train"),
        ],
    ),
    "voxceleb1": (
        voxceleb1,
        [
            ("00001.wav", ("id10001",), "train"),
            ("00002.wav", ("id10002",), "valid"),
            ("00003.wav", ("id10001",), "test"),
            ("00004.wav", ("id10002",), "train"),
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
            ("abcdefghijk.wav", ("/m/09x0r",), "train"),
            ("Y-0SdAVK79lg_30.000_40.000.flac", ("/m/04rlf",), "train"),
            ("Y_4gqARaEJE_0.wav", ("/m/09x0r",), "test"),
        ],
    ),
    "audioset_balanced": (
        audioset,
        [
            ("Y--4gqARaEJE.wav", ("/m/068hy", "/m/07q6cd_"), "train"),
            ("abcdefghijk.wav", ("/m/09x0r",), "train"),
            ("Y_4gqARaEJE_0.wav", ("/m/09x0r",), "test"),
        ],
    ),
    "crema_d": (crema_d, []),
}
