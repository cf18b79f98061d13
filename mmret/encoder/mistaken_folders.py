"""Folders that are given as a model and are none, but lie near one: what to give instead."""

from __future__ import annotations

import json
from pathlib import Path

from mmret.errors import ModelFormatError

_CONFIG = "config.json"
_CLASSIFIER = "classifier.json"
_STATE = "state.json"  # of a checkpoint of training


def refuse_mistaken(name: str, folder: Path) -> None:
    """ModelFormatError where a folder has no config.json, with what a run, its checkpoint or a linear classifier is."""
    if (folder / _CONFIG).exists():
        return
    checkpoint = (folder / _STATE).is_file()
    model = (folder.parent if checkpoint else folder) / "model"
    if (model / _CONFIG).is_file():
        what = "a checkpoint of a run" if checkpoint else "a run"
        raise ModelFormatError(f"{name} is {what}; its model is {model}: give that")
    if (folder / _CLASSIFIER).is_file():
        raise ModelFormatError(
            f"{name} is a classifier, for mmret classify; its encoder is {_encoder_of(folder)}: give that"
        )
    if checkpoint or any(folder.glob(f"step-*/{_STATE}")):
        what = "a checkpoint of a stopped run" if checkpoint else "a stopped run"
        raise ModelFormatError(
            f"{name} is {what}, and no model yet; go on with the run first: its end writes the model"
        )
    raise ModelFormatError(f"{name} cannot be loaded: it holds no {_CONFIG}, so it is no model folder")


def _encoder_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / _CLASSIFIER).read_text(encoding="utf-8"))["encoder"]["model"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"named in {folder / _CLASSIFIER}"
