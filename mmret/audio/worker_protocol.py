"""What goes through the pipes between a decoder's worker and its reader; nothing in it is code."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import BinaryIO

from mmret.audio.decode import DecodeLimits

HEADER = "<cI"  # kind and number of bytes that follow
BLOCK, FAILED, FINISHED = b"B", b"F", b"E"
MAX_PAYLOAD = 2**26  # a block of 65,536 frames at 1 kHz is 25 MB at 96 kHz


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
        facts = {**asdict(self), "path": self.path.hex()}
        return json.dumps(facts).encode() + b"\n"

    @classmethod
    def read(cls, stream: BinaryIO) -> Request | None:
        """The next one of a stream; None at its end."""
        line = stream.readline()
        if not line:
            return None
        facts = json.loads(line)
        return cls(**{**facts, "path": bytes.fromhex(facts["path"]), "limits": DecodeLimits(**facts["limits"])})


def answer(kind: bytes, payload: bytes = b"") -> bytes:
    """An answer as bytes."""
    return struct.pack(HEADER, kind, len(payload)) + payload
