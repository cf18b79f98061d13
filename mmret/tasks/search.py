"""Index: add recordings, then ask what in them matches words or a sound."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.audio.excerpt import excerpt
from mmret.errors import AudioError, MmretError
from mmret.index.check import CheckReport, check
from mmret.index.cluster_file import StoredClusters, load
from mmret.index.clusters import Recall
from mmret.index.compaction import CompactReport, compact
from mmret.index.merge import MergedHit, MergeOptions
from mmret.index.snapshot import Snapshot
from mmret.index.store import IndexStore
from mmret.tasks.clustering import ClusterReport, cluster_index
from mmret.tasks.deep_check import DeepReport, deep_check
from mmret.tasks.identity import (
    IndexInfo,
    describe,
    failed_files,
    model_of,
    note_model,
    open_store,
)
from mmret.tasks.indexing import Adder, AddReport, Decoder, find_audio
from mmret.tasks.progress import AddProgress
from mmret.tasks.recordings import FailedFile, Listing, absolute
from mmret.tasks.request import NEAR_THE_BEST, Region, Request
from mmret.tasks.search_encoder import SearchEncoder
from mmret.tasks.words import check_words

__all__ = [
    "AddProgress",
    "AddReport",
    "CheckReport",
    "ClusterReport",
    "CompactReport",
    "DeepReport",
    "FailedFile",
    "Hit",
    "Index",
    "IndexInfo",
    "MergeOptions",
    "Recall",
    "SearchEncoder",
]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Hit:
    """A place in a recording that matches: joined windows from start to stop, the best of them the peak."""

    path: Path
    start_s: float
    stop_s: float
    score: float
    peak_start_s: float
    peak_stop_s: float
    windows: int


class Index:
    """Searchable recordings in a folder. Use `Index.open`; close it, or use it in a `with` block."""

    def __init__(
        self, store: IndexStore, encoder: SearchEncoder | None, *, approximate: bool = False, model: str | None = None
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._approximate = approximate
        self._named = model
        self._clusters: StoredClusters | None = None
        self.folder = store.folder

    @classmethod
    def open(
        cls,
        folder: PathLike,
        encoder: SearchEncoder | None,
        *,
        model: str | None = None,
        store: str | None = None,
        approximate: bool = False,
    ) -> Index:
        """Open the index in `folder`; with an encoder, make it where there is none.

        Without an encoder an index can tell about itself and forget files, no more. `model` is noted in a new index
        as the name that finds the encoder again, the encoder's own name where it is not given; in one that is there
        `add` notes it, so that a model that was moved is found. `store` is how a new index keeps its vectors: "f32",
        or "f16" for half the space and scores that differ from the fourth digit on.
        `approximate` searches read the clusters near a query alone (see `cluster`); `recalls` tells what they find.
        """
        opened = open_store(absolute(folder), encoder, model=model, dtype=store)
        return cls(opened, encoder, approximate=approximate, model=model)

    def add(
        self,
        paths: PathLike | Iterable[PathLike] | Listing,
        *,
        progress: Callable[[AddProgress], None] | None = None,
        decode: Decoder = decode_blocks,
    ) -> AddReport:
        """Add files and folders, or a listing of them; what is known is not read again, and failures stop nothing.

        A file counts as added once its windows are on the disk: after a stop those that were finished stay, and the
        one that was being read starts again.
        `decode` reads the files; an `mmret.audio.isolated.IsolatedDecoder` does so in processes that may crash.
        """
        encoder = self._needed_encoder()
        listing = paths if isinstance(paths, Listing) else find_audio(_several(paths))
        with self._store.writer() as writer:
            note_model(writer, self._store, self._named)
            return Adder(writer, encoder, progress, decode).run(listing)

    def remove(self, paths: PathLike | Iterable[PathLike]) -> int:
        """Take files, or all files below folders, out of the index; give how many. The recordings stay."""
        with self._store.writer() as writer:
            files = {
                stored.id: stored
                for path in map(absolute, _several(paths))
                for stored in writer.files_below(os.fsencode(path))
            }
            if files:
                writer.remove(files.values(), "removed")
        return len(files)

    def search(
        self, text: str, *, k: int = 10, min_score: float | None = None, merge: MergeOptions | None = NEAR_THE_BEST
    ) -> list[Hit]:
        """The `k` places that match the words best; `merge=None` gives single windows."""
        return self.search_each([text], k=k, min_score=min_score, merge=merge)[0]

    def search_each(
        self,
        texts: Sequence[str],
        *,
        k: int = 10,
        min_score: float | None = None,
        merge: MergeOptions | None = NEAR_THE_BEST,
    ) -> list[list[Hit]]:
        """`search` for each of the texts, with the same hits; many together take a fraction of the time."""
        request = Request(k, min_score, merge)
        check_words(texts)
        return self._hits(self._needed_encoder().encode_text(list(texts)), request)

    def search_audio(
        self,
        path: PathLike,
        *,
        start_s: float | None = None,
        stop_s: float | None = None,
        k: int = 10,
        min_score: float | None = None,
    ) -> list[Hit]:
        """The `k` places that sound most like a recording, or like its part from start_s to stop_s."""
        query = _sound(self._needed_encoder(), absolute(path), start_s, stop_s)
        return self._hits(query, Request(k, min_score, NEAR_THE_BEST))[0]

    def similar(
        self,
        path: PathLike,
        *,
        start_s: float | None = None,
        stop_s: float | None = None,
        k: int = 10,
        min_score: float | None = None,
    ) -> list[Hit]:
        """As `search_audio`, leaving out what was asked with: the file itself, or its part."""
        path = absolute(path)
        query = _sound(self._needed_encoder(), path, start_s, stop_s)
        region_s = (start_s or 0.0, float("inf") if stop_s is None else stop_s)
        return self._hits(query, Request(k, min_score, NEAR_THE_BEST, Region(os.fsencode(path), *region_s)))[0]

    def info(self) -> IndexInfo:
        """Counts, sizes and the model of this index."""
        return describe(self._store)

    def failures(self) -> list[FailedFile]:
        """Files that could not be indexed, with their reasons."""
        return failed_files(self._store)

    def compact(self) -> CompactReport:
        """Give back the space of what was removed or replaced; readers go on undisturbed."""
        return compact(self._store)

    def cluster(self, sentences: Sequence[str] | None = None, *, recall: float = 0.99) -> ClusterReport:
        """Prepare approximate searches, which find at least a share of `recall` of the nearest windows on average.

        Measured with stored windows and with `sentences`, captions of the sample recordings if none are given.
        """
        return cluster_index(self._store, self._needed_encoder(), sentences, recall=recall)

    def recalls(self) -> list[Recall]:
        """What share of the nearest windows approximate searches find, as measured when clusters were built."""
        with self._store.snapshot() as snapshot:
            return self._loaded(snapshot).recalls

    def check(self) -> CheckReport:
        """Read every row and vector and list what is damaged."""
        return check(self._store)

    def check_deep(self, *, decode: Decoder = decode_blocks) -> DeepReport:
        """Encode a sample of the windows again and list those whose vectors are others now."""
        return deep_check(self._store, self._needed_encoder(), decode=decode)

    @property
    def model(self) -> str:
        """Name, folder or hub id under which the index's encoder is found."""
        return model_of(self._store)

    def close(self) -> None:
        """Close the index's files."""
        self._store.close()

    def __enter__(self) -> Self:
        """Give the index itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the index."""
        self.close()

    def __len__(self) -> int:
        """Count its windows."""
        with self._store.rows() as snapshot:
            return snapshot.window_count()

    def __bool__(self) -> bool:
        """Be true, empty or not, as an opened thing is."""
        return True

    def __repr__(self) -> str:
        """Folder, model and dim on one line."""
        return f"Index({str(self.folder)!r}, model={self.model!r}, dim={self._store.dim})"

    def _needed_encoder(self) -> SearchEncoder:
        if self._encoder is None:
            raise MmretError(f"{self.folder} was opened without an encoder; open it with the model {self.model}")
        return self._encoder

    def _loaded(self, snapshot: Snapshot) -> StoredClusters:
        self._clusters = load(snapshot, self._clusters)
        return self._clusters

    def _hits(self, queries: NDArray[np.float32], request: Request) -> list[list[Hit]]:
        with self._store.snapshot() as snapshot:
            clusters = self._loaded(snapshot).clusters if self._approximate else None
            merged = request.merged(snapshot, queries, clusters)
            paths = snapshot.paths_of({int(hit.item) for hits in merged for hit in hits})
        named = {file: Path(os.fsdecode(path)) for file, path in paths.items()}
        return [[_hit(named[int(hit.item)], hit) for hit in hits] for hits in merged]


def _hit(path: Path, merged: MergedHit) -> Hit:
    return Hit(
        path=path,
        start_s=merged.start_s,
        stop_s=merged.stop_s,
        score=merged.score,
        peak_start_s=merged.peak_start_s,
        peak_stop_s=merged.peak_stop_s,
        windows=merged.windows,
    )


def _sound(encoder: SearchEncoder, path: Path, start_s: float | None, stop_s: float | None) -> NDArray[np.float32]:
    """Unit vector (1, dim) of a recording or a part of it."""
    if path.is_dir():
        raise AudioError(path, "a folder; what sounds alike is asked with one recording, so name a file in it")
    whole = start_s is None and stop_s is None
    clip = path if whole else excerpt(path, encoder.sample_rate, start_s or 0.0, stop_s)
    return encoder.encode_audio([clip])


def _several(paths: PathLike | Iterable[PathLike]) -> list[PathLike]:
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
