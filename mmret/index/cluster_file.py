"""Where clusters are kept: one file beside the vectors, named with its digest by the rows. It may be deleted."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import sqlite3
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mmret.errors import MmretError
from mmret.index import row_writer
from mmret.index.clusters import Clusters, Recall
from mmret.index.segments_file import sync_folder
from mmret.index.snapshot import Snapshot
from mmret.index.writer import IndexWriter

FOLDER = "cache"
KIND = "clusters"
_ARRAYS = ("centroids", "starts", "positions", "covered")


@dataclass(frozen=True)
class StoredClusters:
    """Clusters with the recall that was measured when they were built."""

    clusters: Clusters
    recalls: list[Recall]
    sha256: bytes

    @property
    def recall(self) -> float:
        """The lowest of the recalls."""
        return min(one.recall for one in self.recalls)


def save(writer: IndexWriter, clusters: Clusters, recalls: Sequence[Recall]) -> None:
    """Store clusters in place of those that were there."""
    folder = writer.folder / FOLDER
    folder.mkdir(exist_ok=True)
    facts = json.dumps({"probes": clusters.probes, "recalls": [asdict(one) for one in recalls]})
    content = io.BytesIO()
    arrays = {name: getattr(clusters, name) for name in _ARRAYS}
    np.savez(content, facts=np.frombuffer(facts.encode(), np.uint8), **arrays)
    payload = content.getvalue()
    with row_writer.generation(writer.connection) as number:
        name = f"{number:06d}.clusters"
        _write(folder / name, payload)
        forget(writer.connection)
        values = (KIND, number, name, hashlib.sha256(payload).digest(), min(one.recall for one in recalls))
        writer.connection.execute("INSERT INTO cache VALUES(?, ?, ?, ?, ?)", values)
    delete_unnamed(writer)


def forget(connection: sqlite3.Connection) -> None:
    """Let the rows name no clusters."""
    connection.execute("DELETE FROM cache WHERE kind = ?", (KIND,))


def delete_unnamed(writer: IndexWriter) -> None:
    """Delete files of clusters that the rows do not name."""
    named = {row[0] for row in writer.connection.execute("SELECT name FROM cache WHERE kind = ?", (KIND,))}
    for path in (writer.folder / FOLDER).glob("*.clusters"):
        if path.name not in named:
            with contextlib.suppress(OSError):  # they do no harm
                path.unlink()


def load(snapshot: Snapshot, known: StoredClusters | None = None) -> StoredClusters:
    """The clusters of an index, `known` if they are still the same; MmretError where there are none that fit."""
    row = snapshot.cache_row(KIND)
    if row is None:
        raise _absent(snapshot, "has no clusters")
    name, digest = row
    path = snapshot.folder / FOLDER / Path(name).name
    stored = known if known is not None and known.sha256 == digest else _read(snapshot, path, digest)
    if not stored.clusters.fit(snapshot.maps):
        raise _absent(snapshot, "was compacted since its clusters were built")
    return stored


def _read(snapshot: Snapshot, path: Path, digest: bytes) -> StoredClusters:
    """Clusters from a file whose bytes are those that were written, and whose numbers make sense."""
    rows, dim = sum(part.segment.rows for part in snapshot.maps), snapshot.maps[0].segment.layout.dim
    try:
        if path.stat().st_size > _largest_bytes(rows, dim):
            raise _absent(snapshot, f"has damaged clusters ({path})")
        payload = path.read_bytes()
    except OSError:
        raise _absent(snapshot, f"has lost its clusters ({path})") from None
    if hashlib.sha256(payload).digest() != digest:
        raise _absent(snapshot, f"has damaged clusters ({path})")
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed")
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            clusters = Clusters(**{name: arrays[name] for name in _ARRAYS}, probes=facts["probes"])
        clusters.check(dim)
        recalls = [Recall(**one) for one in facts["recalls"]]
        return StoredClusters(clusters, recalls, digest)
    except (ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise _absent(snapshot, f"has clusters that make no sense ({path}: {error})") from None


def _largest_bytes(rows: int, dim: int) -> int:
    """More than the file of clusters of so many vectors can hold."""
    return 16 * rows + 4 * (dim + 2) * (8 * math.isqrt(rows) + 8) + 2**20


def _absent(snapshot: Snapshot, what: str) -> MmretError:
    return MmretError(f"{snapshot.folder} {what}: build them with mmret cluster, or search without --approximate")


def _write(path: Path, payload: bytes) -> None:
    """Put a file and its name on the disk."""
    with path.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
