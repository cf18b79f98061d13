"""PhysioNet/CinC Challenge 2016 (Liu et al., Physiol. Meas. 37, 2016, 2181): normal and abnormal hearts, six databases.

Reads the published layout, training-a/ to training-f/ with a REFERENCE.csv each (name, -1 normal or 1 abnormal), and a
folder with a table meta.csv (file, database, label) beside audio/. The files name no patients, who have several
recordings each: only a test on databases that training has not seen says something of new patients and devices.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mmret.data.tables import audio_folder, read_table, require_files
from mmret.errors import DataLayoutError

WHERE = (
    "fetch https://physionet.org/content/challenge-2016/1.0.0/ (training.zip, 180 MB) and give the unpacked folder, "
    "the one that holds training-a/ to training-f/"
)
LABELS = {"normal": False, "-1": False, "abnormal": True, "1": True}


@dataclass(frozen=True)
class HeartClip:
    """One recording; `database` is the letter of the collection that it comes from."""

    path: Path
    database: str
    abnormal: bool


def read_physionet2016(root: str | os.PathLike[str]) -> list[HeartClip]:
    """All recordings of root, in the order of its table or of its folders."""
    root = Path(root)
    if (root / "meta.csv").is_file():
        clips = _from_table(root)
    else:
        clips = [clip for folder in sorted(root.glob("training-?")) for clip in _from_folder(folder)]
    if not clips:
        raise DataLayoutError(f"{root} holds no heart sounds: neither meta.csv nor training-a/ is there. {WHERE}")
    require_files([clip.path for clip in clips], where=WHERE)
    return clips


def _from_table(root: Path) -> list[HeartClip]:
    audio = audio_folder(root)
    rows = read_table(root / "meta.csv", required=("file", "database", "label"))
    return [HeartClip(audio / row["file"], row["database"], _abnormal(row["label"], root / "meta.csv")) for row in rows]


def _from_folder(folder: Path) -> list[HeartClip]:
    reference = folder / "REFERENCE.csv"
    if not reference.is_file():
        raise DataLayoutError(f"{folder} lacks REFERENCE.csv; {WHERE}")
    lines = [line.split(",") for line in reference.read_text(encoding="utf-8").split()]
    if any(len(line) < 2 for line in lines):
        raise DataLayoutError(f"{reference}: every line must be a name, a comma and -1 or 1; {WHERE}")
    return [HeartClip(folder / f"{name}.wav", folder.name[-1], _abnormal(mark, reference)) for name, mark, *_ in lines]


def _abnormal(label: str, table: Path) -> bool:
    if label not in LABELS:
        raise DataLayoutError(f"{table}: label {label!r} is none of {', '.join(LABELS)}")
    return LABELS[label]
