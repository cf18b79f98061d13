"""What a runtime offers the Encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmret.audio.segments import WindowConfig
from mmret.errors import MmretError, ModelFormatError

Vectors = NDArray[np.float32]
NO_TEXT = "reads no text: it has an audio tower only. Search with --audio FILE"


@dataclass(frozen=True)
class SceneFeatures:
    """A model's own features of whole clips, where it has any beside its unit vectors: what its authors learn from.

    `columns` takes a waveform (time,), at most windows.window_s long, and gives the features of equal steps of time,
    (steps, dim), of any length; their mean is the scene embedding.
    """

    dim: int
    windows: WindowConfig
    columns: Callable[[NDArray[np.float32]], Vectors]


class Towers(Protocol):
    """An audio tower and perhaps a text tower; every vector they return has length one."""

    name: str
    runtime: str
    precision: str
    dim: int
    sample_rate: int
    windows: WindowConfig
    fingerprint: str
    scenes: SceneFeatures | None

    def open_audio(self) -> None:
        """Load what `audio` needs, where that has not happened yet; ModelFormatError where it is damaged."""
        ...

    def audio(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dim) of waveforms (time,) that all have the same length."""
        ...

    def text(self, sentences: Sequence[str]) -> Vectors:
        """Vectors (n, dim) of sentences; ModelFormatError where the model reads no text."""
        ...

    def knows(self, sentence: str) -> bool:
        """Whether the tokenizer has anything but its token for the unknown to say of a sentence."""
        ...


def repeated(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """A waveform of at least `samples`: shorter ones are repeated, as the models were trained."""
    if len(waveform) >= samples:
        return waveform
    return np.tile(waveform, -(-samples // len(waveform)))[:samples]


@contextmanager
def tokenizer_faults(source: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a damaged tokenizer raises into a ModelFormatError.

    The package tokenizers raises bare Exceptions, and its panics are not even that.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MmretError):
        raise
    except BaseException as error:
        raise ModelFormatError(f"{os.fspath(source)}: no tokenizer that works ({error}); fetch it again") from None
