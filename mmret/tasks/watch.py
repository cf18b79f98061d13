"""Folders that are watched: files enter the index once they are complete, and leave it when they are deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

from mmret.audio.decode import AUDIO_SUFFIXES, decode_blocks
from mmret.errors import IndexLocked, MmretError
from mmret.tasks.indexing import AddReport, Decoder
from mmret.tasks.progress import AddProgress
from mmret.tasks.recordings import FailedFile, FoundFile, Listing, absolute, exists, walk
from mmret.tasks.search import Index

POLL_S = 1.0
STEADY_S = 2.0
IDLE_SHARE = 0.02  # of one CPU, which looking at unchanged files may take
LONGEST_PAUSE_S = 60.0

Stamp = tuple[int, int]  # size in bytes, time of the last change in ns


@dataclass(frozen=True)
class Clock:
    """The times that watching goes by."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    cpu: Callable[[], float] = time.thread_time
    sleep: Callable[[float], None] = time.sleep


class Observer(Protocol):
    """Who is told what watching does."""

    def progress(self) -> AbstractContextManager[Callable[[AddProgress], None] | None]:
        """Follow one run of adding."""

    def report(self, report: AddReport) -> None:
        """Take what a run did."""

    def message(self, text: str) -> None:
        """Take a sentence about what hinders the work."""


@dataclass
class Watched:
    """A watched folder with all below it, or one file, and what was seen of it so far."""

    path: Path
    clock: Clock
    known: dict[str, Stamp] = field(default_factory=dict)  # that the index was given
    troubles: list[str] = field(default_factory=list)  # that hinder looking
    news: list[str] = field(default_factory=list)  # that a trouble is over
    _waiting: dict[str, tuple[Stamp, float]] = field(default_factory=dict)  # new or changed, and since when as it is
    _missing: dict[str, float] = field(default_factory=dict)  # known, and since when not to be seen
    _disk: tuple[int, int] | None = None
    _first: bool = True
    _away: bool = False

    def __post_init__(self) -> None:
        """Refuse a path that does not exist: it may be mistyped."""
        if not exists(self.path):
            raise MmretError(f"{self.path}: no such file or folder")
        self.folder = self.path if self.path.is_dir() else self.path.parent

    def look(self) -> tuple[dict[str, Stamp], set[str]]:
        """Files that are new or changed and complete, and known ones that are gone."""
        now = self.clock.monotonic()
        seen, whole = self._seen()
        complete = self._complete(seen, now)
        missing = self.known.keys() - seen.keys() if whole else set()
        # a file that is saved by deleting and writing it again is missing for a moment only
        self._missing = {path: self._missing.get(path, now) for path in missing}
        gone = {path for path, since in self._missing.items() if now - since >= STEADY_S}
        return complete, gone

    def forgets_since(self, gone: set[str]) -> bool:
        """Whether the index may hold files of this path that are no longer there; at first it may, if any are there."""
        if self.troubles:
            return False
        return bool(gone) or (self._first and self.path == self.folder and bool(self._waiting))

    def done(self, complete: dict[str, Stamp], gone: set[str]) -> None:
        """Note that the index was given these."""
        self.known.update(complete)
        for path in gone:
            self.known.pop(path, None)
        self._first = False

    def _complete(self, seen: dict[str, Stamp], now: float) -> dict[str, Stamp]:
        """Unknown files whose size and time have stood still; at first those of old are taken for such."""
        before, self._waiting = self._waiting, {}
        long_ago_ns = int((self.clock.wall() - STEADY_S) * 1e9)
        for path, stamp in seen.items():
            if self.known.get(path) == stamp:
                continue
            last, since = before.get(path, (None, now))
            if last != stamp:
                since = now - STEADY_S if self._first and stamp[1] <= long_ago_ns else now
            self._waiting[path] = (stamp, since)
        return {path: stamp for path, (stamp, since) in self._waiting.items() if now - since >= STEADY_S}

    def _seen(self) -> tuple[dict[str, Stamp], bool]:
        """Stamps of the files that are there, and whether a file that is not among them must be gone."""
        unreadable: list[FailedFile] = []
        self.troubles, self.news = [], []
        try:
            status = self.folder.stat()
            if self.path == self.folder:
                walked = walk(self.path, AUDIO_SUFFIXES)
                unreadable = walked.unreadable
                seen = {entry.path: stamp for entry in walked.files if (stamp := _stamp(entry))}
            else:
                stamp = _stamp(self.path)
                seen = {str(self.path): stamp} if stamp else {}
        except (FileNotFoundError, NotADirectoryError):
            return {}, self._trouble("is not there")
        except OSError as error:
            return {}, self._trouble(f"cannot be read ({error.strerror})")
        disk = (status.st_dev, status.st_ino)
        if not seen and self.known and disk != self._disk:
            return {}, self._trouble("is not there")  # the folder under a disk that is not mounted
        self._disk = disk
        if self._away:
            self._away = False
            self.news = [f"{self.folder} is back"]
        self.troubles = [f"{failed.path}: {failed.reason}" for failed in unreadable]
        return seen, not unreadable

    def _trouble(self, fault: str) -> bool:
        self._away = True
        self.troubles = [f"{self.folder} {fault}; its files stay in the index until it is back"]
        return False


class Watcher:
    """Looks at paths again and again, and lists what an index should be told."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]], clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self._watched = [Watched(path, self.clock) for path in dict.fromkeys(map(absolute, paths))]
        self._news: list[tuple[Watched, dict[str, Stamp], set[str]]] = []

    def look(self) -> Listing:
        """Complete files that are new or changed, and folders (or files) of which something is gone."""
        listing = Listing()
        listed: set[str] = set()
        self._news = [(watched, *watched.look()) for watched in self._watched]
        for watched, complete, gone in self._news:
            listing.files += [FoundFile(watched.folder, Path(path)) for path in complete if path not in listed]
            listed.update(complete)
            if watched.forgets_since(gone):
                listing.folders.append(watched.path)
        return listing

    def done(self) -> None:
        """Note that the index was given the last listing; without this, the next one holds the same again."""
        for watched, complete, gone in self._news:
            watched.done(complete, gone)

    @property
    def troubles(self) -> list[str]:
        """What hinders looking, one sentence each."""
        return [trouble for watched in self._watched for trouble in watched.troubles]

    @property
    def news(self) -> list[str]:
        """Which troubles the last look found to be over, one sentence each."""
        return [news for watched in self._watched for news in watched.news]


def watch(index: Index, watcher: Watcher, observer: Observer, *, decode: Decoder = decode_blocks) -> NoReturn:
    """Keep an index up with folders until something interrupts it.

    Looking costs a CPU no more than IDLE_SHARE of its time, so the pause grows with the number of files. Between
    changes the index may be written by others; while one does, what is new waits.
    """
    told: set[str] = set()
    while True:
        started_s = watcher.clock.cpu()
        listing = watcher.look()
        cost_s = watcher.clock.cpu() - started_s
        troubles = watcher.troubles
        for news in watcher.news:
            observer.message(news)
        try:
            _bring_up(index, listing, observer, decode)
            watcher.done()
        except IndexLocked as error:
            troubles.append(str(error))
        for trouble in troubles:
            if trouble not in told:
                observer.message(trouble)
        told = set(troubles)
        watcher.clock.sleep(min(LONGEST_PAUSE_S, max(POLL_S, cost_s / IDLE_SHARE)))


def _bring_up(index: Index, listing: Listing, observer: Observer, decode: Decoder) -> None:
    if not listing.files and not listing.folders:
        return
    with observer.progress() as progress:
        report = index.add(listing, progress=progress, decode=decode)
    observer.report(report)


def _stamp(file: Path | os.DirEntry[str]) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:  # it went away meanwhile, or is a link to nowhere
        return None
    return status.st_size, status.st_mtime_ns
