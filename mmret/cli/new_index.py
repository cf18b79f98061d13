"""An index that is made by a run stays only if the run put something into it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def kept_if_used(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Around the making and filling of an index: take a new one away, with its folders, where nothing went in."""
    from mmret.errors import IndexLocked
    from mmret.index.store import IndexStore
    from mmret.tasks.maintenance import discard_if_empty

    known = IndexStore.exists(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    yield
    with contextlib.suppress(IndexLocked):  # another run has begun to fill it
        if not known and discard_if_empty(folder):
            tell(f"{folder}: not made, as not one recording could be used")
            with contextlib.suppress(OSError):  # somebody else has put something there
                for place in made:
                    place.rmdir()
