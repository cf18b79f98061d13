"""Errors that a caller of mmret can act on.

MmretError
 ├── AudioError          one recording cannot be used: its path and the reason
 ├── ModelFormatError    a checkpoint or model folder is not what it should be
 ├── EncoderMismatch     an index was made with another encoder
 ├── IndexCorrupt        stored bytes are damaged
 ├── IndexFormatError    an index of another version, or no index at all
 ├── IndexLocked         another process is writing
 ├── IndexReadOnly       an index lies where this user may not write
 ├── QueryError          a search that asks for nothing: no words, or no hits
 ├── DataLayoutError     a corpus is missing or incomplete: what to fetch and where to put it
 ├── TrainingError       a run cannot go on
 └── MissingExtra        an optional package is not installed: the command that installs it
"""

from __future__ import annotations

import os


class MmretError(Exception):
    """Base of all errors that mmret raises on purpose."""


class AudioError(MmretError):
    """A recording cannot be read or used."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path = path
        self.reason = reason


class ModelFormatError(MmretError):
    """A checkpoint or model folder does not hold what it should."""


class EncoderMismatch(MmretError):
    """An index was made with another encoder than the one it was opened with."""


class IndexCorrupt(MmretError):
    """Stored rows or vectors are damaged; the message names the file and the place."""


class IndexFormatError(MmretError):
    """A folder is not an index, or an index of another format version."""


class IndexLocked(MmretError):
    """Another process is writing to the index."""


class IndexReadOnly(MmretError):
    """An index is to be changed where this user may not write, or nobody."""


class QueryError(MmretError, ValueError):
    """A search has no words to look for, asks for no hits, or for scores that nothing can have."""


class DataLayoutError(MmretError):
    """A corpus is missing or incomplete; the message says what to fetch and where to put it."""


class TrainingError(MmretError):
    """A training run cannot start or go on."""


class MissingExtra(MmretError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""
