"""Checks the groups of settings of a recipe, above all those of its model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, get_origin

from transformers import PreTrainedConfig

from mmret.errors import TrainingError
from mmret.models.m2d import M2DConfig
from mmret.training.config import as_declared

FROM_THE_DATA = ("norm_mean", "norm_std", "offline_dim", "text_dim", "text_config")
NEEDED = ("input_size", "patch_size")


def group(name: str, values: Any) -> Mapping[str, Any]:
    """A group of settings, refused where it is a single value."""
    if not isinstance(values, Mapping):
        raise TrainingError(f"{name} is a group of settings, given as --{name}.NAME VALUE, not {values!r}")
    return values


def model_settings(model_class: type[PreTrainedConfig], values: Any, place: str) -> dict[str, Any]:
    """Settings of a model in their declared types; unknown ones are refused, which transformers would store unread."""
    # annotations of the class itself: its parent has some that only make sense to transformers
    hints = inspect.get_annotations(model_class, eval_str=True)
    known = [name for name, hint in hints.items() if name not in FROM_THE_DATA and get_origin(hint) is not ClassVar]
    settings = {}
    for name, value in group(place, values).items():
        if name not in known:
            reason = "follows from the data" if name in FROM_THE_DATA else f"is unknown; known are {', '.join(known)}"
            raise TrainingError(f"setting '{place}.{name}' {reason}")
        if name == "audio_config":
            settings[name] = model_settings(M2DConfig, value, f"{place}.{name}")
        else:
            settings[name] = as_declared(f"{place}.{name}", value, hints[name])
    if not 0 < settings.get("mask_ratio", 0.5) < 1:
        raise TrainingError(f"{place}.mask_ratio must be between 0 and 1, not {settings['mask_ratio']:g}")
    needed = NEEDED if model_class is M2DConfig else ("audio_config",)
    missing = [name for name in needed if name not in settings]
    if missing:
        raise TrainingError(f"setting '{place}.{missing[0]}' is missing")
    return settings
