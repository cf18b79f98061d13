"""What the commands write: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from mmret.errors import MmretError


def shown(text: object) -> str:
    """Text for a terminal: what a file name or an error could smuggle in, such as colour codes, is spelt out."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def sentence(error: MmretError | OSError) -> str:
    """What an error says, without the number that the system gives it."""
    if isinstance(error, MmretError):
        return str(error)
    if error.strerror is None:  # transformers explains itself in several lines
        return " ".join(str(error).split())
    reason = error.strerror.lower()
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it is not one.

    >>> counted(1, "window"), counted(3, "window")
    ('1 window', '3 windows')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_json(row: Mapping[str, Any]) -> None:
    """Print one object on one line of stdout; paths become strings."""
    sys.stdout.write(json.dumps(row, default=os.fspath, allow_nan=False) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(text + "\n")


def size(number_of_bytes: int) -> str:
    """Bytes for people, in the largest unit of which there is one.

    >>> size(900), size(147456), size(3 * 2**30)
    ('900 bytes', '144.0 KiB', '3.0 GiB')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number_of_bytes >= unit:
            return f"{number_of_bytes / unit:.1f} {name}"
    return counted(number_of_bytes, "byte")


def duration(seconds: float) -> str:
    """Hours, minutes and seconds for people.

    >>> duration(3725.4)
    '1:02:05'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
