"""ESC-50 (Piczak, ACM MM 2015): 2000 clips of 5 s, 50 classes, five folds.

Reads the published layout (audio/*.wav, meta/esc50.csv, LICENSE) and a folder with a table meta.csv beside audio/,
which may also hold licence, author and source columns. The clips may stand beside the table as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmret.data.labelled import LabelledClip
from mmret.data.tables import audio_folder, read_table, require_files
from mmret.errors import DataLayoutError

TABLES = ("meta/esc50.csv", "meta.csv", "esc50.csv")
WHERE = (
    "fetch https://github.com/karolpiczak/ESC-50 (archive, 600 MB) and give the unpacked folder, "
    "the one that holds audio/ and meta/esc50.csv"
)
# - [1-100032-A.ogg]: clip derived from rose_bark.wav (http://...) by nfrae [CC0]
_ATTRIBUTION = re.compile(r"^- \[([^\]]+)\.ogg\]:\s+clip derived from (.*) \((\S+)\) by (.*) \[([^\]]+)\]\s*$")


@dataclass(frozen=True)
class Clip:
    """One labelled clip. `source` is the recording it was cut from: clips of one source never cross a split."""

    path: Path
    label: str
    target: int
    fold: int
    licence: str
    source: str
    author: str = ""
    title: str = ""
    url: str = ""


def read_esc50(root: str | os.PathLike[str], *, folds: Collection[int] | None = None) -> list[Clip]:
    """All clips of root, or those of some folds, in the table's order."""
    root = Path(root)
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise DataLayoutError(f"{root} holds no ESC-50: none of {', '.join(TABLES)} is there. To get it, {WHERE}")
    audio = audio_folder(root)
    credits = _attributions(root / "LICENSE")
    rows = read_table(table, required=("fold", "target", "category"))
    clips = [_clip(row, audio, credits) for row in rows]
    clips = [clip for clip in clips if folds is None or clip.fold in folds]
    if not clips:
        raise DataLayoutError(f"{table} names no clip of folds {sorted(folds or [])}; {WHERE}")
    require_files([clip.path for clip in clips], where=WHERE)
    return clips


def read_esc50_labels(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All clips with their label; the part is the number of the fold."""
    return [LabelledClip(clip.path, (clip.label,), str(clip.fold)) for clip in read_esc50(root)]


def class_names(clips: Collection[Clip]) -> list[str]:
    """Labels in the order of the class numbers, which must run from 0 without a gap."""
    names = {clip.target: clip.label for clip in clips}
    if sorted(names) != list(range(len(names))):
        raise DataLayoutError(f"classes {sorted(names)} have gaps: read all folds of the corpus, or name the classes")
    return [names[target] for target in range(len(names))]


def _clip(row: Mapping[str, str], audio: Path, credits: Mapping[str, Mapping[str, str]]) -> Clip:
    name = row.get("filename") or row.get("file", "")
    # the licence file names clips without the class number at the end
    credit = credits.get(Path(name).stem.rpartition("-")[0], {})
    return Clip(
        path=audio / name,
        label=row["category"].replace("_", " "),
        target=int(row["target"]),
        fold=int(row["fold"]),
        licence=row.get("licence") or credit.get("licence", ""),
        source=row.get("src_file", ""),
        author=row.get("author") or credit.get("author", ""),
        title=row.get("source_title") or credit.get("title", ""),
        url=row.get("source_url") or credit.get("url", ""),
    )


def _attributions(path: Path) -> dict[str, dict[str, str]]:
    """Title, address, author and licence of each clip from the corpus's LICENSE file; empty where there is none."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (_ATTRIBUTION.match(line) for line in lines)
    return {
        match[1]: {"title": match[2], "url": match[3], "author": match[4], "licence": match[5]}
        for match in found
        if match
    }
