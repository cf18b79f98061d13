"""Folders are walked in order, without hidden files, loops of links, or ways out."""

from __future__ import annotations

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
