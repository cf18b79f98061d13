"""Exit codes beyond those of a usual end: 0 done, 1 some inputs failed, 2 wrong usage."""

from __future__ import annotations

CANNOT_CONTINUE = 3
INTERRUPTED = 130
PIPE_CLOSED = 141
