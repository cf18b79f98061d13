"""Whether a file or folder can be written, found out before the work whose result it is to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mmret.errors import MmretError


def check_writable(out: Path) -> None:
    """MmretError where `out` cannot be made: a temporary folder is made beside it, or above it, and removed."""
    try:
        above = next(folder for folder in (*out.parents, Path()) if folder.exists())
        if not above.is_dir():
            raise MmretError(f"{out} cannot be written: {above} is a file, not a folder")
        tempfile.TemporaryDirectory(dir=above, prefix=f".{out.name}-").cleanup()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MmretError(f"{out} cannot be written: {reason}; name another place") from None
