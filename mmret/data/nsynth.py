"""NSynth (Engel et al., ICML 2017): 305,979 notes of 4 s; the label is the family of instruments."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mmret.data.labelled import PARTS, LabelledClip, require_found
from mmret.data.tables import require_files
from mmret.errors import DataLayoutError

WHERE = (
    "fetch the json/wav archives of https://magenta.tensorflow.org/datasets/nsynth and give the folder that holds "
    "nsynth-train/, nsynth-valid/ and nsynth-test/, each with examples.json and audio/"
)


def read_nsynth(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All notes in the order of the three tables."""
    root = Path(root)
    clips = []
    for part in PARTS:
        folder = root / f"nsynth-{part}"
        clips += [
            LabelledClip(folder / "audio" / f"{name}.wav", (family,), part) for name, family in _notes(folder).items()
        ]
    require_files([clip.path for clip in clips], where=WHERE)
    return require_found(clips, root, what="NSynth", where=WHERE)


def _notes(folder: Path) -> dict[str, str]:
    """Family of each note of one part."""
    table = folder / "examples.json"
    if not table.is_file():
        raise DataLayoutError(f"{table} is missing. To get NSynth, {WHERE}")
    try:
        notes = json.loads(table.read_text(encoding="utf-8"))
        return {name: str(note["instrument_family_str"]) for name, note in notes.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataLayoutError(f"{table} is not NSynth's table of notes ({error}); {WHERE}") from error
