"""What an index says of itself: what it holds, which model made it, and whether another one may open it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from mmret import __version__
from mmret.errors import EncoderMismatch, IndexCorrupt, MmretError
from mmret.index.schema import FORMAT
from mmret.index.store import IndexStore
from mmret.index.writer import IndexWriter
from mmret.tasks.recordings import FailedFile
from mmret.tasks.search_encoder import SearchEncoder


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds and which model made it."""

    folder: Path
    format: int
    created: str
    generation: int
    files: int
    failed: int
    windows: int
    seconds: float
    vector_bytes: int
    dim: int
    dtype: str
    model: str
    encoder: str
    fingerprint: str
    window_s: float
    hop_s: float


def describe(store: IndexStore) -> IndexInfo:
    """Counts, sizes and the model of an index."""
    identity = _stored_identity(store)
    with store.rows() as snapshot:
        totals = snapshot.totals()
        generation = snapshot.generation
    return IndexInfo(
        folder=store.folder,
        format=FORMAT,
        created=store.meta.get("created", ""),
        generation=generation,
        files=totals.files,
        failed=totals.failed,
        windows=totals.windows,
        seconds=totals.seconds,
        vector_bytes=totals.vector_bytes,
        dim=store.dim,
        dtype=store.layout.dtype,
        model=model_of(store),
        encoder=str(identity["name"]),
        fingerprint=str(identity["fingerprint"]),
        window_s=float(identity["window_s"]),
        hop_s=float(identity["hop_s"]),
    )


def failed_files(store: IndexStore) -> list[FailedFile]:
    """Files that could not be indexed, with their reasons."""
    with store.rows() as snapshot:
        failed = [file for file in snapshot.files() if file.status == "failed"]
    return [FailedFile(Path(os.fsdecode(file.path)), file.reason or "") for file in failed]


def model_of(store: IndexStore) -> str:
    """Name, folder or hub id under which the index's encoder is found."""
    return store.meta.get("model") or str(_stored_identity(store)["name"])


def identity_of(encoder: SearchEncoder) -> str:
    """What an index notes about the encoder that makes it."""
    return json.dumps(
        {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "sample_rate": encoder.sample_rate,
            "window_s": encoder.windows.window_s,
            "hop_s": encoder.windows.hop_s,
            "mmret": __version__,
        }
    )


def note_model(writer: IndexWriter, store: IndexStore, model: str | None) -> None:
    """Note where the encoder was found, if that is another place than the one known, so that it is found again."""
    if model is not None and model != model_of(store):
        writer.put_fact("model", model)
        store.meta["model"] = model


def open_store(
    folder: Path, encoder: SearchEncoder | None, *, model: str | None = None, dtype: str | None = None
) -> IndexStore:
    """The index in a folder, made for an encoder where there is none; refused where it was made for another."""
    if encoder is not None and not IndexStore.exists(folder):
        meta = {"encoder": identity_of(encoder), "model": model or encoder.name}
        store = IndexStore.create(folder, dim=encoder.dim, meta=meta, dtype=dtype or "f32")
    else:
        store = IndexStore.open(folder)
    try:
        check_encoder(store, encoder)
        check_dtype(store, dtype)
    except BaseException:
        store.close()
        raise
    return store


def check_encoder(store: IndexStore, ours: SearchEncoder | None) -> None:
    """Refuse an encoder other than the one that made the index."""
    theirs = _stored_identity(store)
    if ours is not None and theirs.get("fingerprint") != ours.fingerprint:
        raise EncoderMismatch(
            f"{store.folder} was made by {theirs['name']} ({str(theirs.get('fingerprint'))[:12]}); you opened it "
            f"with {ours.name} ({ours.fingerprint[:12]}). Open it with --model {model_of(store)}, or index the "
            "recordings with the new model into another folder: mmret index PATH --to FOLDER --model MODEL"
        )


def check_dtype(store: IndexStore, wanted: str | None) -> None:
    """Refuse to store vectors otherwise than the index does."""
    if wanted not in {None, store.layout.dtype}:
        raise MmretError(
            f"{store.folder} stores its vectors as {store.layout.dtype}, which is chosen when an index is made. "
            "Leave out --store, or index the recordings into another folder"
        )


def _stored_identity(store: IndexStore) -> dict[str, str | float]:
    """What the index says about the encoder that made it."""
    try:
        identity = json.loads(store.meta["encoder"])
        return {"name": "", **identity, "window_s": float(identity["window_s"]), "hop_s": float(identity["hop_s"])}
    except (KeyError, TypeError, ValueError) as error:
        raise IndexCorrupt(f"{store.folder}: what it says about its model cannot be read") from error
