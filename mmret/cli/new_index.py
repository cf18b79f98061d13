"""An index that is made by a run stays only if the run put something into it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def kept_if_used(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Around the making and filling of an index: take a new one away, with its folders, where nothing went in.

    After an interruption it stays, for the next run goes on with it.
    """
    from mmret.errors import MmretError
    from mmret.index.store import IndexStore

    known = IndexStore.exists(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except MmretError:  # which says by itself what hindered the run
        if not known and IndexStore.exists(folder):
            _taken_away(folder, made)
        raise
    if not known and _taken_away(folder, made):
        tell(f"{folder}: not made, as not one recording could be used")


def _taken_away(folder: Path, made: Sequence[Path]) -> bool:
    """Whether an index was empty and is gone now, with those of the folders it made that hold nothing else."""
    from mmret.errors import IndexLocked
    from mmret.tasks.maintenance import discard_if_empty

    try:
        if not discard_if_empty(folder):
            return False
    except IndexLocked:  # another run has begun to fill it
        return False
    with contextlib.suppress(OSError):  # somebody else has put something there
        for place in made:
            place.rmdir()
    return True
