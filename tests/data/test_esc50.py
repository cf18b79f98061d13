"""The ESC-50 reader on made-up trees of each layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmret.data import READERS, read_esc50
from mmret.data.esc50 import class_names
from mmret.errors import DataLayoutError

HEADER = "filename,fold,target,category,esc10,src_file,take\n"
ROWS = "1-100032-A-0.wav,1,0,dog,True,100032,A\n4-007-B-1.wav,4,1,chirping_birds,False,007,B\n"
LICENCE = """## Licensing/attribution details for individual clips:
- [1-100032-A.ogg]: clip derived from rose_bark.wav (http://freesound.example/100032/) by nfrae [CC0]
- [4-007-B.ogg]:  clip derived from Birds (dawn) (http://freesound.example/007/) by A B [CC-BY]
"""


def _published(root: Path) -> Path:
    (root / "meta").mkdir()
    (root / "audio").mkdir()
    (root / "meta" / "esc50.csv").write_text(HEADER + ROWS)
    for name in ("1-100032-A-0.wav", "4-007-B-1.wav"):
        (root / "audio" / name).touch()
    return root


def test_published_layout_gives_clips_in_table_order(tmp_path: Path) -> None:
    clips = read_esc50(_published(tmp_path))
    assert [(clip.label, clip.target, clip.fold, clip.source) for clip in clips] == [
        ("dog", 0, 1, "100032"),
        ("chirping birds", 1, 4, "007"),
    ]
    assert clips[0].path == tmp_path / "audio" / "1-100032-A-0.wav"


def test_licences_come_from_the_corpus_licence_file(tmp_path: Path) -> None:
    (_published(tmp_path) / "LICENSE").write_text(LICENCE)
    birds = read_esc50(tmp_path, folds=[4])[0]
    assert (birds.licence, birds.author, birds.title) == ("CC-BY", "A B", "Birds (dawn)")
    assert birds.url == "http://freesound.example/007/"


def test_without_a_licence_file_the_licence_is_unknown(tmp_path: Path) -> None:
    assert read_esc50(_published(tmp_path))[0].licence == ""


def test_table_beside_the_clips_with_licences_in_it(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("file,fold,target,category,src_file,licence,author\na.ogg,2,0,dog,1,CC0,me\n")
    (tmp_path / "a.ogg").touch()
    clip = read_esc50(tmp_path)[0]
    assert (clip.path, clip.licence, clip.author) == (tmp_path / "a.ogg", "CC0", "me")


def test_missing_table_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"fetch https://github.com/karolpiczak/ESC-50"):
        read_esc50(tmp_path)


def test_missing_clips_are_listed_once(tmp_path: Path) -> None:
    for path in (_published(tmp_path) / "audio").iterdir():
        path.unlink()
    with pytest.raises(DataLayoutError, match=r"2 of 2 recordings are not in .*audio: 1-100032-A-0\.wav, 4-007"):
        read_esc50(tmp_path)


def test_only_the_clips_of_the_asked_folds_need_to_be_there(tmp_path: Path) -> None:
    (_published(tmp_path) / "audio" / "4-007-B-1.wav").unlink()
    assert len(read_esc50(tmp_path, folds=[1])) == 1


def test_folds_that_do_not_exist_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"no clip of folds \[9\]"):
        read_esc50(_published(tmp_path), folds=[9])


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("file,fold\na,1\n")
    with pytest.raises(DataLayoutError, match="lacks the columns target, category"):
        read_esc50(tmp_path)


def test_class_names_follow_the_class_numbers(tmp_path: Path) -> None:
    clips = read_esc50(_published(tmp_path))
    assert class_names(clips) == ["dog", "chirping birds"]
    with pytest.raises(DataLayoutError, match="gaps"):
        class_names(clips[1:])


def test_the_table_of_readers_names_the_corpora() -> None:
    assert set(READERS) >= {"esc50", "captioned"}
