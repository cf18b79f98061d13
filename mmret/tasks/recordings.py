"""Audio files behind the paths that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmret.errors import MmretError


@dataclass(frozen=True)
class FailedFile:
    """A path that could not be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FoundFile:
    """A file to index and the folder it belongs to, both absolute."""

    root: Path
    path: Path


@dataclass
class Listing:
    """Files in order, folders that were walked, and what could not be listed."""

    files: list[FoundFile] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    unreadable: list[FailedFile] = field(default_factory=list)


def absolute(path: str | os.PathLike[str]) -> Path:
    """Absolute path without `..`; symbolic links keep their names, as the user typed them."""
    if not os.fspath(path):  # to the system that is the current folder; here it is a variable that was not set
        raise MmretError('the path is empty; for the current folder, give "."')
    return Path(os.path.abspath(os.path.expanduser(os.fspath(path))))  # noqa: PTH100, PTH111 - Path.absolute keeps ".."


def find_recordings(paths: Iterable[str | os.PathLike[str]], suffixes: frozenset[str]) -> Listing:
    """List files named by `paths` and, below folders, those with a known suffix; sorted, each file once.

    A path that does not exist, and a folder that cannot be read or holds no audio, stop the work before it starts:
    an empty listing may mean a disk that is not mounted.
    """
    listing = Listing()
    seen: set[Path] = set()
    for path in map(absolute, paths):
        if path.is_dir():
            found = [Path(entry.path) for entry in walk(path, suffixes, listing.unreadable)]
            if not found:
                raise MmretError(f"{path} holds no audio files (looked for {', '.join(sorted(suffixes))})")
            listing.folders.append(path)
        elif os.path.lexists(path):
            found = [path]
        else:
            raise MmretError(f"{path}: no such file or folder")
        root = path if path.is_dir() else path.parent
        listing.files += [FoundFile(root, file) for file in found if file not in seen]
        seen.update(found)
    return listing


def walk(root: Path, suffixes: frozenset[str], unreadable: list[FailedFile]) -> list[os.DirEntry[str]]:
    """Audio files below `root`, a folder's own files before those of its folders; no file is opened or asked for."""
    found: list[os.DirEntry[str]] = []
    visited: set[tuple[int, int]] = set()
    inside, endings = root.resolve(), tuple(suffixes)
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise MmretError(f"{root} cannot be read: {error.strerror}") from error
            unreadable.append(FailedFile(folder, f"cannot be read: {error.strerror}"))
            continue
        if (status.st_dev, status.st_ino) in visited:  # a loop of symbolic links
            continue
        visited.add((status.st_dev, status.st_ino))
        visible = [entry for entry in entries if not entry.name.startswith(".") and _stays_inside(entry, inside)]
        found += [entry for entry in visible if entry.name.lower().endswith(endings) and entry.is_file()]
        waiting += [Path(entry.path) for entry in reversed(visible) if entry.is_dir()]
    return found


def _stays_inside(entry: os.DirEntry[str], root: Path) -> bool:
    """False for a symbolic link that leads out of `root`, or nowhere."""
    if not entry.is_symlink():
        return True
    try:
        return Path(entry.path).resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: a link to itself
        return False
