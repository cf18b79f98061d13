"""Recordings into an index: known ones are skipped, the others decoded, cut into windows, encoded and committed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import AUDIO_SUFFIXES, decode_blocks
from mmret.audio.segments import iter_segments
from mmret.errors import AudioError
from mmret.index.rows import Encoded, Failed, Outcome, Recording, Reused, StoredFile, Touched
from mmret.index.segments_file import NORM_TOLERANCE, Block
from mmret.index.writer import IndexWriter
from mmret.tasks.progress import AddProgress, FileEvent, events_of
from mmret.tasks.recordings import FailedFile, FoundFile, Listing, find_recordings
from mmret.tasks.search_encoder import SearchEncoder
from mmret.tasks.window_queue import WindowQueue

WINDOWS_PER_CALL = 32
WINDOWS_PER_COMMIT = 256
SECONDS_PER_COMMIT = 2.0

Decoder = Callable[[Path, int], Iterator[NDArray[np.float32]]]  # decode_blocks, or an IsolatedDecoder


@dataclass
class AddReport:
    """What a run did.

    `added` files are new or changed, `reused` of them had the bytes of a known one, `skipped` were known already,
    `gone` are no longer in their folder, `failed` could not be used; windows and audio are those of added files.
    """

    added: int = 0
    reused: int = 0
    skipped: int = 0
    gone: int = 0
    windows: int = 0
    seconds_of_audio: float = 0.0
    failed: list[FailedFile] = field(default_factory=list)


@dataclass
class _Job:
    """A recording on its way: windows cut so far, vectors not yet written, blocks already written."""

    recording: Recording
    path: Path
    bounds_s: list[tuple[float, float]] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    frames: int = 0
    encoded: int = 0
    complete: bool = False
    dropped: bool = False

    @property
    def ready(self) -> bool:
        return self.complete and self.encoded == len(self.bounds_s)

    def write(self, writer: IndexWriter) -> None:
        if self.vectors:
            self.blocks += writer.append(np.stack(self.vectors))
            self.vectors = []


def find_audio(paths: Iterable[str | os.PathLike[str]]) -> Listing:
    """Audio files behind `paths`; see `find_recordings`."""
    return find_recordings(paths, AUDIO_SUFFIXES)


class Adder:
    """One run of adding recordings; a commit every few seconds of work, so that a stop loses no more."""

    def __init__(
        self,
        writer: IndexWriter,
        encoder: SearchEncoder,
        progress: Callable[[AddProgress], None] | None = None,
        decode: Decoder = decode_blocks,
    ) -> None:
        self.report = AddReport()
        self._writer = writer
        self._encoder = encoder
        self._progress = progress
        self._decode = decode
        self._total = 0
        self._safe_files = 0
        self._jobs: list[_Job] = []  # in order; only the last may be incomplete
        self._windows: WindowQueue[_Job] = WindowQueue(encoder)
        self._outcomes: list[Outcome] = []  # that need no encoding
        self._committed_at = time.monotonic()

    def run(self, listing: Listing) -> AddReport:
        """Add every listed file and note those that left their folder."""
        self._total = len(listing.files)
        self.report.failed += listing.unreadable
        with closing(self._windows):
            for found in listing.files:
                self._take(found)
                self._commit_if_due()
            self._encode_all()
        self._commit()
        # last, so that a file that was moved finds its old vectors
        self._note_gone(listing)
        return self.report

    def _take(self, found: FoundFile) -> None:
        """Skip, re-use or encode one file; a failure is a row, not an end."""
        root, path = os.fsencode(found.root), os.fsencode(found.path)
        recording = Recording(root, path, 0, 0)
        try:
            recording = _identify(found, hashed=False)
            stored = self._writer.file_at(path)
            known = stored is not None and stored.status == "done"
            if known and stored is not None and (stored.size, stored.mtime_ns) == (recording.size, recording.mtime_ns):
                self.report.skipped += 1
                self._tell(1)
                return
            recording = _identify(found, hashed=True)
            self._take_content(found, recording, stored if known else None)
        except AudioError as error:
            self._fail(recording, found.path, error.reason)
        except OSError as error:
            self._fail(recording, found.path, error.strerror or str(error))

    def _take_content(self, found: FoundFile, recording: Recording, stored: StoredFile | None) -> None:
        """Encode only bytes that no searchable file has."""
        assert recording.sha256 is not None
        if stored is not None and stored.sha256 == recording.sha256:
            self.report.skipped += 1
            self._outcomes.append(Touched(recording, stored.id))
            return
        if any(job.recording.sha256 == recording.sha256 for job in self._jobs):
            self._encode_all()  # a copy of a file under way: let that one become a row first
            self._commit()
        source = self._writer.same_content(recording.sha256)
        if source is not None:
            self.report.added += 1
            self.report.reused += 1
            self._outcomes.append(Reused(recording, source.id))
            return
        self._encoder.open_audio()  # a damaged model is told once, and is no fault of any recording
        self._encode(found, recording)

    def _encode(self, found: FoundFile, recording: Recording) -> None:
        """Queue every window of a recording; full queues are encoded while the next windows are decoded."""
        job = _Job(recording, found.path)
        self._jobs.append(job)
        try:
            blocks = _counted(self._decode(found.path, self._encoder.sample_rate), job)
            for segment in iter_segments(blocks, self._encoder.sample_rate, self._encoder.windows):
                job.bounds_s.append((segment.start_s, segment.stop_s))
                self._windows.append(job, segment.waveform)
                if len(self._windows) >= WINDOWS_PER_CALL:
                    self._encode_ahead()
            if not job.bounds_s:
                raise AudioError(found.path, "empty: no samples")
            if _identify(found, hashed=False) != _unhashed(recording):
                raise AudioError(found.path, "it changed while it was read")
        except BaseException:
            self._drop(job)
            raise
        job.complete = True
        if job.blocks:  # its vectors lie at the open end: finish it before another recording writes there
            self._encode_all()
            self._commit()

    def _encode_ahead(self) -> None:
        """Begin to encode what waits, once the batch before it has ended."""
        self._take_vectors()
        self._windows.start()

    def _encode_all(self) -> None:
        """Encode what waits, to the end."""
        self._encode_ahead()
        self._take_vectors()

    def _take_vectors(self) -> None:
        """Hand each vector of the batch at work to its recording."""
        encoded = self._windows.encoded()
        for job, vector in encoded:
            job.vectors.append(vector)
            job.encoded += 1
        for job in {id(job): job for job, _ in encoded if not job.dropped}.values():
            norms = np.linalg.norm(np.stack(job.vectors), axis=1)
            if not np.all(np.abs(norms - 1) <= NORM_TOLERANCE):  # false for NaN, too
                self._reject(job)
        self._spill()

    def _reject(self, job: _Job) -> None:
        """Give up a recording whose vectors are no unit vectors."""
        error = AudioError(job.path, f"{self._encoder.name} gives no finite vector of unit length for it")
        if not job.complete:
            raise error  # it is the one being read: its reader gives it up
        self._drop(job)
        self._fail(job.recording, job.path, error.reason)

    def _spill(self) -> None:
        """Write the vectors of a long recording before its end, so that memory does not grow with its length."""
        job = self._jobs[-1] if self._jobs else None
        if job is not None and not job.complete and len(job.vectors) >= WINDOWS_PER_COMMIT:
            if not job.blocks:
                self._commit()  # from here on the open end belongs to this recording alone
            job.write(self._writer)

    def _drop(self, job: _Job) -> None:
        job.dropped = True
        self._windows.forget(job)
        self._jobs.remove(job)
        if job.blocks:
            self._writer.discard()

    def _fail(self, recording: Recording, path: Path, reason: str) -> None:
        self.report.failed.append(FailedFile(path, reason))
        self._outcomes.append(Failed(recording, reason))

    def _commit_if_due(self) -> None:
        windows = sum(job.encoded for job in self._jobs)
        waited_s = time.monotonic() - self._committed_at
        full = max(windows, len(self._outcomes)) >= WINDOWS_PER_COMMIT
        if full or (waited_s >= SECONDS_PER_COMMIT and (windows or self._outcomes)):
            self._commit()

    def _commit(self) -> None:
        """Commit every recording that is whole, then count it as done."""
        ready = [job for job in self._jobs if job.ready]
        self._jobs = [job for job in self._jobs if not job.ready]
        outcomes = self._outcomes
        self._outcomes = []
        for job in ready:
            job.write(self._writer)
            rate = self._encoder.sample_rate
            outcomes.append(Encoded(job.recording, rate, job.frames, job.bounds_s, job.blocks))
        if outcomes:
            self._writer.commit(outcomes)
        for job in ready:
            self.report.added += 1
            self.report.windows += len(job.bounds_s)
            self.report.seconds_of_audio += job.frames / self._encoder.sample_rate
        self._committed_at = time.monotonic()
        self._tell(len(outcomes), events_of(outcomes))

    def _tell(self, files: int, events: Sequence[FileEvent] = ()) -> None:
        self._safe_files += files
        if self._progress is not None and (files or events):
            report = self.report
            state = AddProgress(self._safe_files, self._total, report.seconds_of_audio, report.skipped, tuple(events))
            self._progress(state)

    def _note_gone(self, listing: Listing) -> None:
        """Take files out of the index that were deleted from a folder that was walked."""
        listed = {os.fsencode(found.path) for found in listing.files}
        gone = {
            stored.id: stored
            for folder in listing.folders
            for stored in self._writer.files_below(os.fsencode(folder))
            if stored.path not in listed and _is_gone(stored.path)
        }
        if gone:
            self._writer.remove(gone.values(), "no longer in its folder")
            self.report.gone = len(gone)
            self._tell(0, [FileEvent("removed", Path(os.fsdecode(stored.path))) for stored in gone.values()])


def _is_gone(path: bytes) -> bool:
    """Whether a path leads nowhere; one in a folder that may not be entered is not gone."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _identify(found: FoundFile, *, hashed: bool) -> Recording:
    """Size and time of a regular file, and the digest of its bytes where asked."""
    status = found.path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(found.path, "not a regular file")
    digest = None
    if hashed:
        with found.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    root, path = os.fsencode(found.root), os.fsencode(found.path)
    return Recording(root, path, status.st_size, status.st_mtime_ns, digest)


def _unhashed(recording: Recording) -> Recording:
    return Recording(recording.root, recording.path, recording.size, recording.mtime_ns)


def _counted(blocks: Iterable[NDArray[np.float32]], job: _Job) -> Iterator[NDArray[np.float32]]:
    """Pass on blocks (time,) and add up their samples."""
    for block in blocks:
        job.frames += len(block)
        yield block
