"""A disk that loses power: from recorded calls, every folder that a cut could leave behind."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.faults.shim import CREATE, CUT, MKDIR, NOTE, RENAME, SYNC, UNLINK, WRITE

HEAD = struct.Struct("<5Q")
SECTOR = 512


@dataclass(frozen=True)
class Call:
    """One recorded call; paths are below the recorded folder, "" is the folder itself."""

    kind: int
    path: str
    second: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class File:
    """Content that is on the disk, and changes since the last sync that may be there or not."""

    durable: bytearray
    pending: list[Call] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is on the disk."""
        for call in self.pending:
            _change(self.durable, call)
        self.pending = []


def read_log(log: Path, folder: Path) -> list[Call]:
    """Calls that the shim recorded below `folder`, in order."""
    content, calls, at = log.read_bytes(), [], 0
    root = str(folder)
    while at < len(content):
        kind, path_bytes, second_bytes, offset, size = HEAD.unpack_from(content, at)
        at += HEAD.size
        path = os.fsdecode(content[at : at + path_bytes])
        second = os.fsdecode(content[at + path_bytes : at + path_bytes + second_bytes])
        at += path_bytes + second_bytes
        data = content[at : at + size] if kind == WRITE else b""
        at += len(data)
        below = [one.removeprefix(root).lstrip("/") if kind != NOTE else one for one in (path, second)]
        calls.append(Call(kind, below[0], below[1], offset, data))
    return calls


class Disk:
    """Files and names as a process sees them and as they are on the disk, after some calls."""

    def __init__(self, start: Path | None = None) -> None:
        self._seen: dict[str, File | None] = {}  # None is a folder
        if start is not None and start.exists():
            for path in [start, *sorted(start.rglob("*"))]:
                name = "" if path == start else str(path.relative_to(start))
                self._seen[name] = None if path.is_dir() else File(bytearray(path.read_bytes()))
        self._durable = dict(self._seen)
        self._naming: list[tuple[str, Call, File | None]] = []  # not yet on the disk, in order
        self.acknowledged = 0

    def do(self, call: Call) -> None:
        """Take one call into account."""
        if call.kind == NOTE:
            self.acknowledged += 1
        elif call.kind == SYNC:
            self._sync(call.path)
        elif call.kind in {CREATE, MKDIR, UNLINK, RENAME}:
            file = File(bytearray()) if call.kind == CREATE else None
            _name(self._seen, call, file)
            self._naming.append(((call.second or call.path).rpartition("/")[0], call, file))
        else:
            file = self._seen.get(call.path)
            if file is not None:
                file.pending.append(call)

    def left_behind(self, generator: np.random.Generator, variants: int) -> Iterator[dict[str, bytes | None]]:
        """Contents by name that a cut at this moment can leave: the four extremes, then random ones; 0: none."""
        if not variants:
            return
        everything, nothing = (lambda file: file.pending), (lambda file: [])
        for names in (len(self._naming), 0):
            for data in (everything, nothing):
                yield self._contents(names, data)
        for _ in range(variants - 4):
            names = int(generator.integers(0, len(self._naming) + 1))
            yield self._contents(names, lambda file: _some(file.pending, generator))

    def _contents(self, names: int, data: Callable[[File], Sequence[Call]]) -> dict[str, bytes | None]:
        named = dict(self._durable)
        for _, call, file in self._naming[:names]:
            _name(named, call, file)
        contents: dict[str, bytes | None] = {}
        for name, file in named.items():
            if file is None:
                contents[name] = None
                continue
            content = bytearray(file.durable)
            for call in data(file):
                _change(content, call)
            contents[name] = bytes(content)
        return contents

    def _sync(self, path: str) -> None:
        file = self._seen.get(path)
        if file is not None:
            file.sync()
            return
        waiting = []
        for folder, call, made in self._naming:
            if folder == path:
                _name(self._durable, call, made)
            else:
                waiting.append((folder, call, made))
        self._naming = waiting


def write_folder(folder: Path, contents: dict[str, bytes | None]) -> None:
    """Make a folder of files; names in folders that were lost are lost, too."""
    for name, content in sorted(contents.items()):
        path = folder / name if name else folder
        if content is None and path.parent.is_dir():
            path.mkdir(exist_ok=True)
        elif content is not None and path.parent.is_dir():
            path.write_bytes(content)


def _name(names: dict[str, File | None], call: Call, file: File | None) -> None:
    """Apply a call that changes names."""
    if call.kind in {CREATE, MKDIR}:
        names[call.path] = file
    elif call.kind == UNLINK:
        names.pop(call.path, None)
    elif call.path in names:
        names[call.second] = names.pop(call.path)


def _change(content: bytearray, call: Call) -> None:
    """Apply a write or a cut."""
    if call.kind == CUT:
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))
        return
    content.extend(bytes(max(0, call.offset - len(content))))
    content[call.offset : call.offset + len(call.data)] = call.data


def _some(calls: Sequence[Call], generator: np.random.Generator) -> list[Call]:
    """A random subset in order; a write may be torn at a sector."""
    kept = []
    for call in calls:
        fate = generator.random()
        if fate < 0.45:
            kept.append(call)
        elif fate < 0.6 and len(call.data) > SECTOR:
            end = SECTOR * int(generator.integers(1, len(call.data) // SECTOR + 1))
            kept.append(Call(call.kind, call.path, "", call.offset, call.data[:end]))
    return kept
