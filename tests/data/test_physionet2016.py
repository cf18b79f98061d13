"""The reader of the challenge of 2016 on made-up trees of both layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmret.data import read_physionet2016
from mmret.data.physionet2016 import HeartClip
from mmret.errors import DataLayoutError


def _published(root: Path) -> Path:
    for letter, lines in {"a": "a0001,1\na0002,-1\n", "b": "b0001,-1,1\n"}.items():
        folder = root / f"training-{letter}"
        folder.mkdir()
        (folder / "REFERENCE.csv").write_text(lines)
        for line in lines.split():
            (folder / f"{line.partition(',')[0]}.wav").touch()
    return root


def test_published_layout_gives_databases_and_labels(tmp_path: Path) -> None:
    assert read_physionet2016(_published(tmp_path)) == [
        HeartClip(tmp_path / "training-a" / "a0001.wav", "a", True),
        HeartClip(tmp_path / "training-a" / "a0002.wav", "a", False),
        HeartClip(tmp_path / "training-b" / "b0001.wav", "b", False),
    ]


def test_table_beside_the_recordings(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("file,database,label\ne01.flac,e,abnormal\n")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "e01.flac").touch()
    assert read_physionet2016(tmp_path) == [HeartClip(tmp_path / "audio" / "e01.flac", "e", True)]


def test_nothing_there_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"physionet\.org"):
        read_physionet2016(tmp_path)


@pytest.mark.parametrize(("lines", "told"), [("a0001\n", "every line"), ("a0001,0\n", "'0'")])
def test_a_damaged_reference_is_refused(tmp_path: Path, lines: str, told: str) -> None:
    (_published(tmp_path) / "training-a" / "REFERENCE.csv").write_text(lines)
    with pytest.raises(DataLayoutError, match=told):
        read_physionet2016(tmp_path)


def test_missing_recordings_are_told(tmp_path: Path) -> None:
    (_published(tmp_path) / "training-b" / "b0001.wav").unlink()
    with pytest.raises(DataLayoutError, match=r"1 of 3 recordings"):
        read_physionet2016(tmp_path)
