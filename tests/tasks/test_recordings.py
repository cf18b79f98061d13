"""Folders are walked in order, without hidden files, loops of links, or ways out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mmret.errors import MmretError
from mmret.tasks.recordings import find_recordings

SUFFIXES = frozenset({".wav", ".flac"})


def make(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(listing_of: Path, *paths: Path) -> list[str]:
    """Found files relative to a folder."""
    return [str(found.path.relative_to(listing_of)) for found in find_recordings(paths, SUFFIXES).files]


def test_folders_are_walked_in_order_and_only_for_visible_audio(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b.WAV",
        "a.flac",
        "deep/c.wav",
        ".hidden/d.wav",
        ".e.wav",
        "notes.txt",
        "deep/er/f.wav",
        "x.wav/g.wav",
    )
    assert names(tmp_path, tmp_path) == ["a.flac", "b.WAV", "deep/c.wav", "deep/er/f.wav", "x.wav/g.wav"]


def test_a_file_named_explicitly_is_always_tried_and_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "notes.txt")
    assert names(tmp_path, tmp_path / "notes.txt", tmp_path, tmp_path / "a.wav") == ["notes.txt", "a.wav"]


def test_loops_of_links_are_cut_and_links_out_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "root/a.wav", "outside/b.wav")
    root = tmp_path / "root"
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "self.wav").symlink_to(root / "self.wav")
    (root / "nowhere.wav").symlink_to(root / "missing.wav")
    assert names(root, root) == ["a.wav"]
    (tmp_path / "door").symlink_to(tmp_path / "outside")
    assert names(tmp_path, tmp_path / "door") == ["door/b.wav"]


def test_a_missing_path_and_a_folder_without_audio_are_told(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    with pytest.raises(MmretError, match="no such file or folder"):
        find_recordings([tmp_path / "missing"], SUFFIXES)
    with pytest.raises(MmretError, match=r"holds no audio files \(looked for .flac, .wav\)"):
        find_recordings([tmp_path], SUFFIXES)


def closed(*folders: Path) -> Callable[[Path], object]:
    """A listing of folders that is refused for some of them, as to a user without the right to read them."""
    scandir = os.scandir

    def listed(folder: Path) -> object:
        if folder in folders:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    return listed


def test_a_named_folder_that_cannot_be_read_is_listed_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "open/a.wav", "private/b.wav", "outer/inner/c.wav")
    private, inner = tmp_path / "private", tmp_path / "outer" / "inner"
    monkeypatch.setattr(os, "scandir", closed(private, inner))
    listing = find_recordings([private, tmp_path / "outer", tmp_path / "open"], SUFFIXES)
    assert [found.path for found in listing.files] == [tmp_path / "open" / "a.wav"]
    assert [(failed.path, failed.reason) for failed in listing.unreadable] == [
        (private, "cannot be read: Permission denied"),
        (inner, "cannot be read: Permission denied"),
    ]
    # nothing below the others may be taken for gone
    assert listing.folders == [tmp_path / "open"]


def test_a_path_in_a_folder_that_may_not_be_entered_is_listed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", refused)
    listing = find_recordings([tmp_path / "private" / "a.wav"], SUFFIXES)
    assert (listing.files, [failed.path.name for failed in listing.unreadable]) == ([], ["a.wav"])


def test_a_name_that_no_file_can_have_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MmretError, match="no such file or folder"):
        find_recordings([tmp_path / ("a" * 300)], SUFFIXES)


@pytest.mark.parametrize(("links", "told"), [(1, "; 1 link was not followed"), (2, "; 2 links were not followed")])
def test_a_folder_that_holds_only_links_out_says_so(tmp_path: Path, links: int, told: str) -> None:
    make(tmp_path, "outside/a.wav", "folder/.hidden")
    for number in range(links):
        (tmp_path / "folder" / f"{number}").symlink_to(tmp_path / "outside")
    (tmp_path / "folder" / ".link").symlink_to(tmp_path / "outside")
    with pytest.raises(MmretError, match=f"holds no audio files .*{told}"):
        find_recordings([tmp_path / "folder"], SUFFIXES)
