"""AudioSet (Gemmeke et al., ICASSP 2017) from a copy of its audio: clips of 10 s, any of 527 labels each.

No copy is whole, as videos go away: clips that are not there are left out, and how many is logged. Labels are the
published ids (/m/...), because their sorted order is the order of the classes in published classifiers.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mmret.data.labelled import LabelledClip, require_found
from mmret.errors import DataLayoutError

log = logging.getLogger(__name__)

BALANCED, UNBALANCED, EVAL = "balanced_train_segments", "unbalanced_train_segments", "eval_segments"
WHERE = (
    f"fetch {BALANCED}.csv, {UNBALANCED}.csv and {EVAL}.csv of https://research.google.com/audioset/download.html and "
    f"put your copy of the audio below folders of the same names ({EVAL}/YVIDEO_ID.wav, with or without Y and times)"
)
SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus")
_ID_CHARACTERS = 11


def read_audioset(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All training clips, balanced and unbalanced, and the evaluation clips as test: AS2M."""
    return _read(Path(root), {BALANCED: "train", UNBALANCED: "train", EVAL: "test"})


def read_audioset_balanced(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """The balanced training clips alone, and the evaluation clips as test: AS20K."""
    return _read(Path(root), {BALANCED: "train", EVAL: "test"})


def _read(root: Path, parts: dict[str, str]) -> list[LabelledClip]:
    clips, lacking = [], 0
    for name, part in parts.items():
        audio = {_video(path.stem): path for path in _files(root / name)}
        for video, labels in _segments(root / f"{name}.csv"):
            if video in audio:
                clips.append(LabelledClip(audio[video], labels, part))
            else:
                lacking += 1
    if lacking:
        log.warning("%s lacks %d of %d clips of AudioSet; they are left out", root, lacking, lacking + len(clips))
    missing = set(parts.values()) - {clip.part for clip in clips}
    if missing:
        raise DataLayoutError(f"{root} holds no AudioSet clip for {', '.join(sorted(missing))}. To get it, {WHERE}")
    return require_found(clips, root, what="AudioSet", where=WHERE)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []


def _video(stem: str) -> str:
    """The id of 11 characters in VIDEO, YVIDEO, VIDEO_START or YVIDEO_START_END; it may hold - and _ itself."""
    has_prefix = stem.startswith("Y") and (len(stem) == _ID_CHARACTERS + 1 or stem[_ID_CHARACTERS + 1 :][:1] == "_")
    return stem[has_prefix:][:_ID_CHARACTERS]


def _segments(table: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Id and labels of each row; three lines of comments come first, blanks follow the commas."""
    if not table.is_file():
        raise DataLayoutError(f"{table} is missing. To get AudioSet, {WHERE}")
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.reader((line for line in file if not line.startswith("#")), skipinitialspace=True)
        for row in rows:
            if len(row) != 4:
                raise DataLayoutError(f"{table}: {row} has not the four columns of AudioSet's tables; {WHERE}")
            yield row[0], tuple(label.strip() for label in row[3].split(",") if label.strip())
