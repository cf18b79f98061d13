"""The command with the fake encoder, as a process of its own: for tests that watch and interrupt it."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import mmret.encoder
from mmret.cli import main
from tests.tasks.fake_encoder import FakeEncoder


class SlowEncoder(FakeEncoder):
    """Spends half a minute where no Python code runs, as a large network does."""

    def encode_waveforms(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Never mind the result."""
        threading.Timer(0.2, lambda: print("encoding", flush=True)).start()  # when it is well under way
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
        return super().encode_waveforms(waveforms)


if __name__ == "__main__":
    encoder = SlowEncoder() if sys.argv.pop(1) == "slow" else FakeEncoder()
    mmret.encoder.Encoder.from_pretrained = lambda *words, **options: encoder  # type: ignore[assignment, method-assign]
    main()
