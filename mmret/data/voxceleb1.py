"""VoxCeleb1 (Nagrani et al., Interspeech 2017): 153,516 utterances of 1251 speakers, the identification split."""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import PARTS, LabelledClip, listed, require_found
from mmret.data.tables import require_files
from mmret.errors import DataLayoutError

SPLIT = "iden_split.txt"
WHERE = (
    f"fetch VoxCeleb1 and {SPLIT} from https://www.robots.ox.ac.uk/~vgg/data/voxceleb, unpack the development and the "
    f"test archive into one folder wav/ (wav/id10001/VIDEO/00001.wav) and put {SPLIT} beside it"
)


def read_voxceleb1(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All utterances in the order of the split; the label is the speaker."""
    root = Path(root)
    clips = []
    for line in listed(root, SPLIT, what="VoxCeleb1", where=WHERE):
        number, _, name = line.partition(" ")
        if number not in ("1", "2", "3") or not name:
            raise DataLayoutError(f"{root / SPLIT}: {line!r} is not a number 1 to 3 and a file; {WHERE}")
        speaker = name.partition("/")[0]
        clips.append(LabelledClip(root / "wav" / name, (speaker,), PARTS[int(number) - 1]))
    require_files([clip.path for clip in clips], where=WHERE)
    return require_found(clips, root, what="VoxCeleb1", where=WHERE)
