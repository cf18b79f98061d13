"""Targets of the additional task known before training: labels (M2D-AS) and features of a speech model (M2D-S)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray

from mmret.data.log_mel_folder import LIST_NAME, Array, LogMelFiles
from mmret.data.tables import read_table
from mmret.errors import DataLayoutError
from mmret.models.m2d_objectives import average_teacher_frames

FEATURES_DIR = "features"
VIDEO_ID = 11  # characters that name a clip in AudioSet's metadata
FRAMES_A_FEATURE = 2  # a speech model steps 20 ms, a log-mel 10 ms


@dataclass(frozen=True)
class Tags:
    """Multi-hot labels (recordings, classes) of a list of recordings."""

    labels: NDArray[np.float32]
    classes: Sequence[str]

    @property
    def dim(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def of(self, index: int, start: int, frames: int) -> NDArray[np.float32]:
        """Labels (classes,) of a recording; every crop of it has all of them."""
        labels: NDArray[np.float32] = self.labels[index]
        return labels

    def sampling_weights(self) -> NDArray[np.float64]:
        """Weight (recordings,) that makes rare labels frequent, as M2D-AS writes beside its list of files."""
        counts = self.labels.sum(axis=0, dtype=np.float64)
        summed = (self.labels * (1000.0 / (counts + 100.0))).sum(axis=1)
        return np.asarray(summed ** (1 / 1.5))


def read_tags(path: str | os.PathLike[str], names: Sequence[str]) -> Tags:
    """Labels of recordings from a CSV file with the columns file_name and labels, the labels joined by commas.

    A recording is looked up by its name, with or without folder and suffix, or, as in AudioSet's metadata, by the first
    11 characters of it. Classes are sorted.
    """
    path = Path(path)
    rows = read_table(path, required=["file_name", "labels"])
    listed = {row["file_name"]: [label.strip() for label in row["labels"].split(",") if label.strip()] for row in rows}
    found = [_labels_of(name, listed, path) for name in names]
    counts = Counter(label for labels in found for label in labels)
    number = {label: row for row, label in enumerate(sorted(counts))}
    multi_hot = np.zeros((len(names), len(number)), np.float32)
    for row, labels in enumerate(found):
        multi_hot[row, [number[label] for label in labels]] = 1.0
    return Tags(multi_hot, list(number))


def _labels_of(name: str, listed: Mapping[str, Sequence[str]], path: Path) -> Sequence[str]:
    own = name.removesuffix(".npy")
    stem = PurePath(own).stem
    for key in (own, PurePath(own).name, stem, stem[:VIDEO_ID]):
        if listed.get(key):
            return listed[key]
    raise DataLayoutError(f"{path} has no labels for {own}; give it a row with file_name {own!r} or {stem!r}")


@dataclass(frozen=True)
class SpeechLogMels:
    """Log-mels whose recordings also have features of a speech model, two frames each; silence at the end is left out.

    `valid` counts the features of each recording that are not of its padding. It is raised to what one crop needs, so
    that short recordings keep a part of their padding, and cut to a multiple of `patch_frames`.
    """

    files: LogMelFiles
    valid: Sequence[int]
    crop_frames: int
    patch_frames: int

    @property
    def names(self) -> Sequence[str]:
        """Names of the recordings."""
        return self.files.names

    def features_of(self, index: int) -> int:
        """Number of features of a recording that crops are cut from."""
        wanted = max(self.valid[index], self.crop_frames // FRAMES_A_FEATURE)
        return wanted // self.patch_frames * self.patch_frames

    def __getitem__(self, index: int) -> Array:
        """Log-mel (mels, frames)."""
        return self.files[index][:, : FRAMES_A_FEATURE * self.features_of(index)]


@dataclass(frozen=True)
class SpeechFeatures:
    """Features of a speech model at 20 ms beside the log-mels, averaged into patches."""

    log_mels: SpeechLogMels
    dim: int

    def of(self, index: int, start: int, frames: int) -> NDArray[np.float32]:
        """Features (patches, dim) of the crop that begins at frame `start`; a repeated list counts on."""
        name = self.log_mels.names[index % len(self.log_mels.names)]
        stored = _read_features(self.log_mels.files.folder / FEATURES_DIR / name)
        wanted = frames // FRAMES_A_FEATURE
        first = wanted * start // frames
        crop = np.asarray(stored[first : first + wanted], np.float32)
        if crop.shape != (wanted, self.dim):
            raise DataLayoutError(
                f"{name}: features {stored.shape} do not cover {wanted} steps of width {self.dim} from {first}; "
                "make them again with train/speech_features.py"
            )
        return average_teacher_frames(torch.from_numpy(crop), self.log_mels.patch_frames).numpy()


def open_speech(folder: str | os.PathLike[str], crop_frames: int, patch_frames: int) -> SpeechFeatures:
    """What train/speech_features.py wrote: log-mels, features of the same names, and files.csv that counts them."""
    folder = Path(folder)
    if not (folder / FEATURES_DIR).is_dir() or not (folder / LIST_NAME).is_file():
        raise DataLayoutError(
            f"{folder} holds no {FEATURES_DIR}/ and {LIST_NAME}; "
            f"make it with: python train/speech_features.py AUDIO_DIR {folder} --model MODEL"
        )
    rows = read_table(folder / LIST_NAME, required=["file_name", "valid_features"])
    if not rows:
        raise DataLayoutError(f"{folder / LIST_NAME} lists no recordings")
    files = LogMelFiles(folder, [row["file_name"] for row in rows])
    log_mels = SpeechLogMels(files, [int(row["valid_features"]) for row in rows], crop_frames, patch_frames)
    return SpeechFeatures(log_mels, _read_features(folder / FEATURES_DIR / files.names[0]).shape[-1])


def _read_features(path: Path) -> NDArray[np.floating]:
    try:
        features: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataLayoutError(f"{path} holds no features: {error}") from error
    if features.ndim != 2:
        raise DataLayoutError(f"{path} has shape {features.shape}; features are (time, dim)")
    return features
