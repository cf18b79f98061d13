"""VoxForge: read speech, one folder a language, below it one a session of a speaker; the label is the language.

There is no published split. Where split.csv (columns file and part; files relative to the folder) is there, it decides;
otherwise speakers are divided 70, 10 and 20 % within each language, so no speaker is in two parts.
"""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import LabelledClip, require_found, speaker_parts, split_table
from mmret.data.tables import require_files

LANGUAGES = ("de", "en", "es", "fr", "it", "ru")
WHERE = (
    "fetch the recordings of http://www.voxforge.org and give the folder that holds one folder a language "
    f"({', '.join(LANGUAGES)}), each with its unpacked sessions: de/SPEAKER-DATE-ID/wav/*.wav"
)


def read_voxforge(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All utterances of the languages that are there, sorted by name."""
    root = Path(root)
    if (rows := split_table(root)) is not None:
        clips = [LabelledClip(root / file, (file.partition("/")[0],), part) for file, part in rows]
        require_files([clip.path for clip in clips], where=WHERE)
        return require_found(clips, root, what="VoxForge", where=WHERE)
    clips = []
    for language in LANGUAGES:
        found = sorted([*root.glob(f"{language}/*/wav/*.wav"), *root.glob(f"{language}/*/flac/*.flac")])
        parts = speaker_parts({_speaker(path) for path in found})
        clips += [LabelledClip(path, (language,), parts[_speaker(path)]) for path in found]
    return require_found(clips, root, what="VoxForge", where=WHERE)


def _speaker(path: Path) -> str:
    """SPEAKER of SPEAKER-DATE-ID; anonymous sessions count as speakers of their own."""
    session = path.parent.parent.name
    speaker = session.rpartition("-")[0].rpartition("-")[0] or session
    return session if speaker.lower() == "anonymous" else speaker
