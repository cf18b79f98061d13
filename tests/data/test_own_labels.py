"""A user's own table: what it may hold, and what is told of one that cannot be learnt from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmret.data.own_labels import identical_files, read_own_labels
from mmret.errors import DataLayoutError

NAMES = ("a.wav", "b.wav", "deep/c.wav", "d.wav")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root / name


GOOD = "path,label\na.wav,dog\nb.wav,dog\ndeep/c.wav,rain\n./d.wav, rain \n"


def test_rows_become_clips_in_order(root: Path) -> None:
    clips = read_own_labels(table(root, GOOD))
    assert [(clip.path.relative_to(root).as_posix(), clip.labels, clip.part) for clip in clips] == [
        ("a.wav", ("dog",), ""),
        ("b.wav", ("dog",), ""),
        ("deep/c.wav", ("rain",), ""),
        ("d.wav", ("rain",), ""),
    ]


def test_recordings_may_lie_in_another_folder_and_have_absolute_paths(root: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("tables")
    clips = read_own_labels(table(elsewhere, GOOD.replace("a.wav", str(root / "a.wav"))), audio=root)
    assert clips[0].path == root / "a.wav"


@pytest.mark.parametrize(
    ("column", "values", "parts"),
    [
        ("split", ("Train", "validation", "val", "test"), ["train", "valid", "valid", "test"]),
        ("fold", ("1", " 2", "10", "a"), ["1", "2", "10", "a"]),
    ],
)
def test_a_column_of_parts_is_read(root: Path, column: str, values: tuple[str, ...], parts: list[str]) -> None:
    rows = zip(GOOD.splitlines(), (column, *values), strict=True)
    clips = read_own_labels(table(root, "\n".join(f"{row},{value}" for row, value in rows)))
    assert [clip.part for clip in clips] == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n", "lacks the columns path"),
        ("path,label\n", "has no rows below its first line"),
        ("Path,Label\na.wav,dog\n", "name the column 'Path' in its first line path, in small letters"),
        ("path, label\na.wav,dog\n", "name the column ' label' in its first line label, .* without spaces"),
        ("path,label,Fold\na.wav,dog,1\n", "name the column 'Fold' in its first line fold"),
        ("path;label\na.wav;dog\n", "separated by semicolons; save it as CSV with commas"),
        ("path,label,split\na.wav,dog,test\nb.wav,dog,\n", "line 3: split '' is none of train"),
        (GOOD + "e.wav,rain\n", r"line 6: .*e.wav is no file"),
        (GOOD + "a.wav,rain\n", r"a.wav stands in 2 lines; leave one"),
        (GOOD + "deep/../a.wav,rain\n", r"a.wav stands in 2 lines"),
        (GOOD + "../x.wav,rain\n", r"line 6: \.\./x\.wav lies outside .*--audio"),
        (GOOD + "/etc/passwd,rain\n", r"line 6: /etc/passwd lies outside"),
        (GOOD + ",rain\n", "line 6: path is empty"),
        (GOOD.replace("a.wav,dog", "a.wav,"), "line 2: label is empty"),
        (GOOD.replace("rain", "dog"), "only 'dog' as label"),
        (GOOD.replace("deep/c.wav,rain", "deep/c.wav,snow"), "one recording only of rain, snow"),
        ("path,label,split\na.wav,dog,test\nb.wav,dog,dev\n", "line 3: split 'dev' is none of train, valid, test"),
        ("path,label,fold\na.wav,dog,1\nb.wav,dog,\n", "line 3: fold is empty"),
    ],
)
def test_what_is_wrong_is_told_by_line(root: Path, text: str, message: str) -> None:
    with pytest.raises(DataLayoutError, match=message):
        read_own_labels(table(root, text))


def test_all_faults_are_told_at_once_and_the_rest_is_counted(root: Path) -> None:
    text = GOOD + "".join(f"lost{number}.wav,rain\n" for number in range(9))
    with pytest.raises(DataLayoutError, match="and 4 more") as error:
        read_own_labels(table(root, text))
    assert str(error.value).count("is no file") == 5


def test_a_table_that_is_none_is_named(root: Path) -> None:
    with pytest.raises(DataLayoutError, match="no such file"):
        read_own_labels(root / "none.csv")
    (root / "latin.csv").write_bytes("path,label\na.wav,Vögel\n".encode("latin-1"))
    with pytest.raises(DataLayoutError, match="not text in UTF-8"):
        read_own_labels(root / "latin.csv")


def test_a_folder_of_recordings_that_is_none_is_told_before_their_lines(root: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"nodir: no such folder"):
        read_own_labels(table(root, GOOD), audio=root / "nodir")


def test_copies_are_found_by_their_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcde"]
    for path, content in zip(paths, ("same", "diff", "same", "longer", "same"), strict=True):
        path.write_text(content)
    assert identical_files([*paths, tmp_path / "lost"]) == [[paths[0], paths[2], paths[4]]]


@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=200))
def test_any_bytes_give_clips_or_an_error_of_ours(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "table.csv"
    path.write_bytes(b"path,label,fold\n" + text)
    with pytest.raises(DataLayoutError):  # there are no recordings beside it
        read_own_labels(path)
