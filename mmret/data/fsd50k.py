"""FSD50K (Fonseca et al., 2020): 51,197 clips of 0.3 to 30 s, any of 200 labels each."""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import LabelledClip, require_found
from mmret.data.tables import read_table, require_files
from mmret.errors import DataLayoutError

_NAMES = {"train": "train", "val": "valid"}
WHERE = (
    "fetch FSD50K from https://zenodo.org/records/4060432 and give the folder that holds FSD50K.dev_audio/, "
    "FSD50K.eval_audio/ and FSD50K.ground_truth/"
)


def read_fsd50k(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """Development clips by their column split, then evaluation clips as test, in the tables' order."""
    root = Path(root)
    clips = [_clip(root, "dev", row, _NAMES.get(row["split"], "")) for row in _rows(root, "dev", ["split"])]
    clips += [_clip(root, "eval", row, "test") for row in _rows(root, "eval", [])]
    if any(not clip.part for clip in clips):
        raise DataLayoutError(f"{root}/FSD50K.ground_truth/dev.csv: the column split holds more than train and val")
    require_files([clip.path for clip in clips], where=WHERE)
    return require_found(clips, root, what="FSD50K", where=WHERE)


def _rows(root: Path, name: str, further: list[str]) -> list[dict[str, str]]:
    table = root / "FSD50K.ground_truth" / f"{name}.csv"
    if not table.is_file():
        raise DataLayoutError(f"{table} is missing. To get FSD50K, {WHERE}")
    return read_table(table, required=["fname", "labels", *further])


def _clip(root: Path, name: str, row: dict[str, str], part: str) -> LabelledClip:
    path = root / f"FSD50K.{name}_audio" / f"{row['fname']}.wav"
    return LabelledClip(path, tuple(label.strip() for label in row["labels"].split(",") if label.strip()), part)
