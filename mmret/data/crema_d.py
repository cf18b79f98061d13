"""CREMA-D (Cao et al., IEEE Trans. Affective Computing 2014): 7442 acted sentences, 91 actors, six emotions.

There is no published split. Where split.csv (columns file and part) is there, it decides; otherwise actors are divided
63, 9 and 19, as in M2D's evaluation, but not the same ones: its list is not public.
"""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import LabelledClip, folder_of, require_found, speaker_parts, split_table
from mmret.data.tables import require_files
from mmret.errors import DataLayoutError

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
WHERE = (
    "fetch https://github.com/CheyneyComputerScience/CREMA-D (with git-lfs) and give the folder that holds AudioWAV/"
)


def read_crema_d(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All sentences, sorted by name; the label is the emotion."""
    root = Path(root)
    audio = folder_of(root, ["AudioWAV"], what="CREMA-D", where=WHERE)
    if (rows := split_table(root)) is not None:
        clips = [LabelledClip(audio / file, (_emotion(audio / file),), part) for file, part in rows]
        require_files([clip.path for clip in clips], where=WHERE)
        return require_found(clips, root, what="CREMA-D", where=WHERE)
    found = sorted(audio.glob("*_*_*_*.wav"))
    parts = speaker_parts({path.name.partition("_")[0] for path in found})
    clips = [LabelledClip(path, (_emotion(path),), parts[path.name.partition("_")[0]]) for path in found]
    return require_found(clips, audio, what="CREMA-D", where=WHERE)


def _emotion(path: Path) -> str:
    fields = path.stem.split("_")
    if len(fields) != 4 or fields[2] not in EMOTIONS:
        raise DataLayoutError(f"{path} is not named ACTOR_SENTENCE_EMOTION_LEVEL.wav as CREMA-D's files are; {WHERE}")
    return fields[2]
