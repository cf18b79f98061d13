"""What an index needs of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmret.audio.segments import WindowConfig


class SearchEncoder(Protocol):
    """What `Index.open` takes; `mmret.Encoder` is one."""

    @property
    def name(self) -> str:
        """Name for people."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def sample_rate(self) -> int:
        """Rate of the waveforms it takes, in Hz."""

    @property
    def windows(self) -> WindowConfig:
        """Length and hop of the windows it listens to."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that shapes its vectors."""

    def open_audio(self) -> None:
        """Make ready to encode recordings; ModelFormatError where the model is damaged."""

    def encode_text(self, texts: list[str], /) -> NDArray[np.float32]:
        """Unit vectors (texts, dim)."""

    def encode_audio(self, clips: Sequence[Any], /) -> NDArray[np.float32]:
        """Unit vectors (clips, dim) of paths or waveforms (time,)."""

    def encode_waveforms(self, waveforms: Sequence[NDArray[np.float32]], /) -> NDArray[np.float32]:
        """Unit vectors (waveforms, dim), one a waveform (time,)."""
