"""Paths as they are typed on the command line."""

from __future__ import annotations

from pathlib import Path

import typer


def typed_path(text: str) -> Path:
    """Take a path as it is, readable or not; refuse an empty one, which to the system is the current folder.

    An empty path is a variable of a script that is not set: `mmret remove INDEX "$DIR"` must not empty the index.
    """
    if not text:
        raise typer.BadParameter('the path is empty; for the current folder, give "."')
    return Path(text)
