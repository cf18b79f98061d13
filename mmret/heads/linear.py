"""A linear classifier of vectors: standardise, one matrix, softmax or sigmoid; stored as numbers alone."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import ModelFormatError

Array = NDArray[np.float32]

MAX_BYTES = 2**30
_FIELDS = ("mean", "scale", "weight", "bias")


@dataclass(frozen=True)
class LinearHead:
    """Logits of vectors (n, dim): (vectors - mean) / scale @ weight.T + bias.

    `mean` and `scale` are (dim,), `weight` (classes, dim), `bias` (classes,). With `multi_label` each class has a
    probability of its own; otherwise they sum to one.
    """

    mean: Array
    scale: Array
    weight: Array
    bias: Array
    multi_label: bool = False

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.weight.shape[1])

    def logits(self, vectors: Array) -> Array:
        """Vectors (n, dim) -> logits (n, classes)."""
        standard: Array = (vectors - self.mean) / self.scale
        logits: Array = standard @ self.weight.T + self.bias
        return logits

    def probabilities(self, vectors: Array) -> Array:
        """Vectors (n, dim) -> probabilities (n, classes)."""
        return probabilities(self.logits(vectors), multi_label=self.multi_label)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file without pickles."""
        arrays = {name: getattr(self, name) for name in _FIELDS}
        np.savez(Path(path), multi_label=np.array(self.multi_label), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LinearHead:
        """Read what `save` wrote; ModelFormatError where it is something else."""
        path = Path(path)
        try:
            with zipfile.ZipFile(path) as archive:  # sizes as unpacked: a small file may hold much
                if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                    raise ValueError(f"larger than {MAX_BYTES} bytes")
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: np.asarray(stored[name], np.float32) for name in _FIELDS}
                multi_label = bool(stored["multi_label"])
            head = cls(**arrays, multi_label=multi_label)
            _check(head)
        except Exception as error:  # zip, numpy and the system each raise kinds of their own for damaged files
            raise ModelFormatError(f"{path} is no head of mmret ({error}); train it again") from None
        return head


def probabilities(logits: Array, *, multi_label: bool) -> Array:
    """Logits (n, classes) -> probabilities of the same shape: sigmoid of each, or softmax over the classes."""
    if multi_label:
        # as tanh, because exp(-x) overflows for classes that are surely absent
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def standardiser(vectors: Array) -> tuple[Array, Array]:
    """Mean and population deviation (dim,) of vectors (n, dim); a feature that never changes has scale 1."""
    mean, deviation = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    constant = deviation <= 10 * np.finfo(np.float32).eps * np.abs(mean)
    return mean.astype(np.float32), np.where(constant, 1.0, deviation).astype(np.float32)


def one_hot(labels: Sequence[int] | NDArray[np.int64], classes: int) -> Array:
    """Class numbers (n,) -> rows (n, classes) with a one each."""
    return np.eye(classes, dtype=np.float32)[np.asarray(labels, np.int64)]


def _check(head: LinearHead) -> None:
    classes, dim = head.weight.shape if head.weight.ndim == 2 else (0, 0)
    if not classes or not dim or head.bias.shape != (classes,) or {head.mean.shape, head.scale.shape} != {(dim,)}:
        raise ValueError("its arrays do not go together")
    if not all(np.isfinite(getattr(head, name)).all() for name in _FIELDS) or not (head.scale > 0).all():
        raise ValueError("it holds numbers that cannot be")
