"""Which models can be exported, as far as a look tells: without torch, which takes seconds to load."""

from __future__ import annotations

import os
from pathlib import Path

from mmret.encoder.encoder import model_folder
from mmret.encoder.manifest import FILE_NAME, FP32, INT8, read_manifest
from mmret.errors import ModelFormatError


def check_export(model: str | os.PathLike[str], out: Path, precision: str) -> Path | None:
    """Folder of a shipped name or of a path, None for a hub id; ModelFormatError for what cannot be exported to OUT."""
    if out.exists():
        raise ModelFormatError(f"{out} exists already; name a folder that does not")
    if precision not in (FP32, INT8):
        raise ModelFormatError(f"precision {precision!r} is not one of {FP32}, {INT8}")
    folder = model_folder(model)
    if folder is None:
        return None
    if (folder / FILE_NAME).is_file() and (stored := read_manifest(folder).precision) != FP32:
        raise ModelFormatError(
            f"{model} is {stored} already and has no fp32 weights to export; export the fp32 folder it was made from"
        )
    if not (folder / "config.json").is_file():
        raise ModelFormatError(f"{model} is no model folder: it has no config.json")
    return folder
