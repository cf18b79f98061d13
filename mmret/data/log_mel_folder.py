"""Stored log-mels to train on: a folder of .npy files with a list of them, or one memory map of equal lengths."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmret.data.tables import read_table
from mmret.errors import DataLayoutError

LIST_NAME = "files.csv"
MAP_NAME = "features.npy"
STATISTICS_NAME = "mean_std.json"

Array = NDArray[np.float32]


class LogMels(Protocol):
    """Log-mels by number, not normalised, each with the name of its recording."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the recordings, in order."""
        ...

    def __getitem__(self, index: int) -> Array:
        """Log-mel (mels, frames) of one recording."""
        ...


@dataclass(frozen=True)
class LogMelFiles:
    """Log-mels of different lengths, one .npy file (1, mels, frames) or (mels, frames) each."""

    folder: Path
    names: Sequence[str]

    def __getitem__(self, index: int) -> Array:
        """Log-mel (mels, frames)."""
        path = self.folder / self.names[index]
        try:
            log_mel = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataLayoutError(f"{path} of {self.folder / LIST_NAME} is not a log-mel: {error}") from error
        return np.asarray(log_mel.reshape(log_mel.shape[-2:]))


@dataclass(frozen=True)
class LogMelMap:
    """Log-mels of one length in a memory map (recordings, mels, frames)."""

    array: NDArray[np.floating]
    names: Sequence[str]

    def __getitem__(self, index: int) -> Array:
        """Log-mel (mels, frames)."""
        return np.asarray(self.array[index])


@dataclass(frozen=True)
class _Selected:
    """Some log-mels of others, in an order of their own."""

    all: LogMels
    rows: Sequence[int]
    names: Sequence[str]

    def __getitem__(self, index: int) -> Array:
        """Log-mel (mels, frames)."""
        return self.all[self.rows[index]]


def selected(log_mels: LogMels, stems: Sequence[str]) -> LogMels:
    """Those of the recordings with these names, without folder and suffixes, in this order."""
    rows = _rows_by_stem(log_mels)
    found = [rows[stem] for stem in stems]
    return _Selected(log_mels, found, [log_mels.names[row] for row in found])


def stored_among(log_mels: LogMels, stems: Sequence[str]) -> list[bool]:
    """Whether there is a log-mel of each recording; DataLayoutError where there is none at all."""
    rows = _rows_by_stem(log_mels)
    stored = [stem in rows for stem in stems]
    if not any(stored):
        raise DataLayoutError(
            f"none of {len(stems)} recordings has a log-mel; run train/prepare_log_mels.py on the training recordings"
        )
    return stored


def _rows_by_stem(log_mels: LogMels) -> dict[str, int]:
    rows = {PurePath(name).name.removesuffix(".npy").rpartition(".")[0]: row for row, name in enumerate(log_mels.names)}
    rows |= {PurePath(name).name.removesuffix(".npy"): row for row, name in enumerate(log_mels.names)}
    return rows


def open_log_mels(folder: str | os.PathLike[str]) -> LogMels:
    """Log-mels of a folder that holds files.csv (column file_name), features.npy or both.

    With features.npy, row i of files.csv names its row i; without files.csv the rows are named by number.
    """
    folder = Path(folder)
    listed = folder / LIST_NAME
    names = [row["file_name"] for row in read_table(listed, required=["file_name"])] if listed.is_file() else None
    if (folder / MAP_NAME).is_file():
        array = np.load(folder / MAP_NAME, mmap_mode="r", allow_pickle=False)
        if array.ndim != 3 or (names is not None and len(names) != len(array)):
            raise DataLayoutError(
                f"{folder / MAP_NAME} of shape {array.shape} does not go with {len(names or ())} names in {listed}"
            )
        return LogMelMap(array, names or [str(row) for row in range(len(array))])
    if names is None:
        raise DataLayoutError(
            f"{folder} holds neither {LIST_NAME} nor {MAP_NAME}; make it with: "
            f"python train/prepare_log_mels.py AUDIO_DIR {folder}"
        )
    return LogMelFiles(folder, names)


def read_statistics(folder: str | os.PathLike[str]) -> tuple[float, float] | None:
    """Mean and standard deviation that belong to a folder of log-mels, if they were stored."""
    path = Path(folder) / STATISTICS_NAME
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    return float(stored["mean"]), float(stored["std"])


def write_statistics(folder: str | os.PathLike[str], mean: float, std: float) -> None:
    """Store mean and standard deviation beside the log-mels."""
    (Path(folder) / STATISTICS_NAME).write_text(json.dumps({"mean": mean, "std": std}) + "\n")


def write_list(
    folder: str | os.PathLike[str], names: Sequence[str], counts: Mapping[str, Sequence[int]] | None = None
) -> None:
    """Store files.csv, by rename, so that a list is whole or absent; `counts` are further columns, by their name."""
    path = Path(folder) / LIST_NAME
    temporary = path.with_suffix(".tmp")
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    further = counts or {}
    rows = (",".join(map(str, row)) for row in zip(quoted, *further.values(), strict=True))
    temporary.write_text("\n".join([",".join(["file_name", *further]), *rows]) + "\n", encoding="utf-8")
    temporary.replace(path)
