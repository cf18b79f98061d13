"""What goes between a decoder's worker and its reader: lines and counts in pipes, samples in memory that both have.

Nothing in it is code. A worker fills the memory and tells how far; samples cross in one copy on either side, and a
recording of some seconds in one answer, where a pipe would wake both processes for each of its blocks.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import BinaryIO

from mmret.audio.decode import DecodeLimits

HEADER = "<cI"  # kind and a number
SAMPLES = b"S"  # number of samples that lie in the memory; more follow after GO_ON
FINISHED = b"E"  # number of samples that lie in the memory, the last ones
FAILED = b"F"  # number of bytes of a reason, which follow
GO_ON = b"\n"
SHARED_SAMPLES = 2**20  # a minute at 16 kHz
MAX_REASON = 2**16


@dataclass(frozen=True)
class Request:
    """A recording to decode, and the CPU time that it may take."""

    path: bytes
    sample_rate: int
    cpu_s: float
    extra_s_per_s: float
    limits: DecodeLimits

    def packed(self) -> bytes:
        """As bytes, in one line."""
        facts = {**vars(self), "path": self.path.hex(), "limits": vars(self.limits)}
        return json.dumps(facts).encode() + b"\n"

    @classmethod
    def read(cls, stream: BinaryIO) -> Request | None:
        """The next one of a stream; None at its end."""
        line = stream.readline()
        if not line:
            return None
        facts = json.loads(line)
        return cls(**{**facts, "path": bytes.fromhex(facts["path"]), "limits": DecodeLimits(**facts["limits"])})


def answer(kind: bytes, number: int) -> bytes:
    """An answer as bytes."""
    return struct.pack(HEADER, kind, number)
