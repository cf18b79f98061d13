"""Audio files behind the paths that a user names."""

from __future__ import annotations

import errno
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
class Walked:
    """What lies below a folder: audio files, folders that could not be listed, links that were passed over."""

    files: list[os.DirEntry[str]] = field(default_factory=list)
    unreadable: list[FailedFile] = field(default_factory=list)
    links_out: int = 0


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

    A path that does not exist, and a folder that holds no audio, stop the work before it starts: an empty listing may
    mean a disk that is not mounted. What cannot be read is listed as that, and stops nothing.
    """
    listing = Listing()
    seen: set[Path] = set()
    for path in map(absolute, paths):
        try:
            root, found = _found(path, suffixes, listing)
        except OSError as error:
            listing.unreadable.append(cannot_be_read(path, error))
            continue
        listing.files += [FoundFile(root, file) for file in found if file not in seen]
        seen.update(found)
    return listing


def _found(path: Path, suffixes: frozenset[str], listing: Listing) -> tuple[Path, list[Path]]:
    """The folder that files belong to, and the files; OSError where it cannot be told what there is."""
    if not exists(path):
        raise MmretError(f"{path}: no such file or folder")
    if not path.is_dir():
        return path.parent, [path]
    walked = walk(path, suffixes)
    listing.unreadable += walked.unreadable
    if not walked.files and not walked.unreadable:
        raise MmretError(
            f"{path} holds no audio files (looked for {', '.join(sorted(suffixes))}){_passed_over(walked)}"
        )
    if walked.files:  # else nothing may be taken for gone: what is there was not seen
        listing.folders.append(path)
    return path, [Path(entry.path) for entry in walked.files]


def exists(path: Path) -> bool:
    """Whether something has this name, if only a link to nowhere; OSError where a folder above keeps that to itself."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}:
            return False
        raise
    return True


def cannot_be_read(path: Path, error: OSError) -> FailedFile:
    """A path that the system does not let us look at."""
    return FailedFile(path, f"cannot be read: {error.strerror}")


def _passed_over(walked: Walked) -> str:
    if not walked.links_out:
        return ""
    links = "1 link was" if walked.links_out == 1 else f"{walked.links_out} links were"
    return f"; {links} not followed, out of this folder or to nothing: name the places where they lead"


def walk(root: Path, suffixes: frozenset[str]) -> Walked:
    """What lies below `root`, a folder's own files before those of its folders; no file is opened or asked for.

    Hidden files are passed over. OSError where `root` itself cannot be listed.
    """
    walked = Walked()
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
                raise
            walked.unreadable.append(cannot_be_read(folder, error))
            continue
        if (status.st_dev, status.st_ino) in visited:  # a loop of symbolic links
            continue
        visited.add((status.st_dev, status.st_ino))
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        followed = [entry for entry in visible if _stays_inside(entry, inside)]
        walked.links_out += len(visible) - len(followed)
        walked.files += [entry for entry in followed if entry.name.lower().endswith(endings) and entry.is_file()]
        waiting += [Path(entry.path) for entry in reversed(followed) if entry.is_dir()]
    return walked


def _stays_inside(entry: os.DirEntry[str], root: Path) -> bool:
    """False for a symbolic link that leads out of `root`, or nowhere."""
    if not entry.is_symlink():
        return True
    try:
        return Path(entry.path).resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: a link to itself
        return False
