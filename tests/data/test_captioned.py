"""The reader of captioned folders on made-up trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmret.data import read_captioned
from mmret.errors import DataLayoutError


def _folder(root: Path, table: str) -> Path:
    (root / "audio").mkdir()
    for name in ("a.ogg", "b.ogg"):
        (root / "audio" / name).touch()
    (root / "captions.csv").write_text(table)
    return root


def test_rows_of_one_file_are_gathered(tmp_path: Path) -> None:
    clips = read_captioned(_folder(tmp_path, "file,caption\na.ogg,a cow\nb.ogg,rain\na.ogg, it moos \n"))
    assert [(clip.path.name, clip.captions) for clip in clips] == [
        ("a.ogg", ("a cow", "it moos")),
        ("b.ogg", ("rain",)),
    ]


def test_files_without_a_caption_are_left_out(tmp_path: Path) -> None:
    clips = read_captioned(_folder(tmp_path, "file,caption,licence\na.ogg,a cow,CC0\nb.ogg,,CC0\n"))
    assert [(clip.path.name, clip.licence) for clip in clips] == [("a.ogg", "CC0")]


def test_missing_table_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"holds no captions\.csv: put the recordings into audio/"):
        read_captioned(tmp_path)


def test_an_empty_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match="holds no caption:"):
        read_captioned(_folder(tmp_path, "file,caption\n"))


def test_missing_recordings_are_counted_and_named(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"1 of 1 recordings are not in .*: c\.ogg\. Do this: put"):
        read_captioned(_folder(tmp_path, "file,caption\nc.ogg,a horse\n"))
