"""A folder of captioned recordings: captions.csv with the columns file and caption, and the files in audio/.

A file may stand in several rows, one a caption. Further columns are ignored, but for licence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mmret.data.tables import audio_folder, read_table, require_files
from mmret.errors import DataLayoutError

TABLE = "captions.csv"
WHERE = f"put the recordings into audio/ and write {TABLE} beside it, with the columns file and caption"


@dataclass(frozen=True)
class CaptionedClip:
    """One recording and what is said about it."""

    path: Path
    captions: tuple[str, ...]
    licence: str = ""


def read_captioned(root: str | os.PathLike[str]) -> list[CaptionedClip]:
    """All recordings of root in the order in which the table first names them."""
    root = Path(root)
    table = root / TABLE
    if not table.is_file():
        raise DataLayoutError(f"{root} holds no {TABLE}: {WHERE}")
    audio = audio_folder(root)
    captions: dict[str, list[str]] = {}
    licences: dict[str, str] = {}
    for row in read_table(table, required=("file", "caption")):
        if row["caption"].strip():
            captions.setdefault(row["file"], []).append(row["caption"].strip())
            licences.setdefault(row["file"], row.get("licence") or "")
    if not captions:
        raise DataLayoutError(f"{table} holds no caption: {WHERE}")
    clips = [CaptionedClip(audio / name, tuple(texts), licences[name]) for name, texts in captions.items()]
    require_files([clip.path for clip in clips], where=WHERE)
    return clips
