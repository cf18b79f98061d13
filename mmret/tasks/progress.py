"""How far a run of adding recordings is, and what became of each file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmret.index.rows import Encoded, Failed, Outcome, Touched


@dataclass(frozen=True)
class FileEvent:
    """A file that was `added`, `failed` or `removed`, safe on the disk; a re-used file has no number of windows."""

    event: str
    path: Path
    windows: int | None = None
    seconds_of_audio: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class AddProgress:
    """How far a run is: files whose rows are safe on the disk, of all that were found; `known` needed no work.

    `events` are the files that changed the index since the last call.
    """

    files: int
    total: int
    seconds_of_audio: float
    known: int = 0
    events: tuple[FileEvent, ...] = ()


def events_of(outcomes: Iterable[Outcome]) -> list[FileEvent]:
    """What committed outcomes mean for their files; a new time on old content means nothing."""
    return [_event_of(outcome) for outcome in outcomes if not isinstance(outcome, Touched)]


def _event_of(outcome: Outcome) -> FileEvent:
    path = Path(os.fsdecode(outcome.recording.path))
    if isinstance(outcome, Failed):
        return FileEvent("failed", path, reason=outcome.reason)
    if isinstance(outcome, Encoded):
        return FileEvent("added", path, len(outcome.bounds_s), outcome.frames / outcome.sample_rate)
    return FileEvent("added", path)
