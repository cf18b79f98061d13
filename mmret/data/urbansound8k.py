"""UrbanSound8K (Salamon et al., ACM MM 2014): 8732 slices of up to 4 s, 10 classes, ten fixed folds."""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import LabelledClip, require_found
from mmret.data.tables import read_table, require_files
from mmret.errors import DataLayoutError

TABLE = "metadata/UrbanSound8K.csv"
WHERE = (
    "fetch UrbanSound8K from https://urbansounddataset.weebly.com and give the unpacked folder, "
    f"the one that holds audio/fold1 to audio/fold10 and {TABLE}"
)


def read_urbansound8k(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All slices in the table's order; the part is the number of the fold."""
    root = Path(root)
    if not (root / TABLE).is_file():
        raise DataLayoutError(f"{root} holds no UrbanSound8K: {TABLE} is missing. To get it, {WHERE}")
    rows = read_table(root / TABLE, required=("slice_file_name", "fold", "class"))
    clips = [
        LabelledClip(
            root / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            (row["class"].replace("_", " "),),
            row["fold"],
        )
        for row in rows
    ]
    require_files([clip.path for clip in clips], where=WHERE)
    return require_found(clips, root, what="UrbanSound8K", where=WHERE)
