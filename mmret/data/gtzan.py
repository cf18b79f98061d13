"""GTZAN (Tzanetakis and Cook, 2002): 1000 clips of 30 s, ten genres, with the fault-filtered split (Sturm, 2013)."""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import PARTS, LabelledClip, folder_of, listed, require_found
from mmret.data.tables import require_files

LISTS = {f"{part}_filtered.txt": part for part in PARTS}
WHERE = (
    "fetch GTZAN, give the folder that holds genres/ with a folder a genre, and put into it train_filtered.txt, "
    "valid_filtered.txt and test_filtered.txt, from GTZAN_split of https://github.com/jongpillee/music_dataset_split"
)


def read_gtzan(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """The clips of the three lists, 443, 197 and 290 of them; files are .wav or .au."""
    root = Path(root)
    genres = folder_of(root, ["genres", "genres_original"], what="GTZAN", where=WHERE)
    clips = []
    for name, part in LISTS.items():
        for line in listed(root, name, what="fault-filtered split of GTZAN", where=WHERE):
            clips.append(LabelledClip(_either(genres / line), (line.partition("/")[0],), part))
    require_files([clip.path for clip in clips], where=WHERE)
    return require_found(clips, root, what="GTZAN", where=WHERE)


def _either(path: Path) -> Path:
    """The file of a list, or the same clip in the format of the original archive."""
    original = path.with_suffix(".au")
    return original if not path.is_file() and original.is_file() else path
