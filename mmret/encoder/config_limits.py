"""What a config.json of unknown origin may ask for before a model is built from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmret.errors import ModelFormatError

MAX_CONFIG_BYTES = 1_000_000
MAX_LAYERS = 512  # of one stack; the deepest published encoders have some 50
_LAYERS = re.compile(r"layers?$|depths?$")


def check_config_file(folder: Path) -> None:
    """Refuse a config.json that is too large to be one."""
    path = folder / "config.json"
    if path.is_file() and path.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelFormatError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes; fetch it again")


def check_layers(name: str, facts: Mapping[str, Any]) -> None:
    """Refuse numbers of layers, at any depth of a configuration, that would take hours to build."""
    for key, number in _numbers_of_layers(facts):
        if number > MAX_LAYERS:
            raise ModelFormatError(f"{name} asks for {number:g} as {key}; {MAX_LAYERS} are possible. Fetch it again")


def _numbers_of_layers(facts: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _numbers_of_layers({str(inner): part for inner, part in value.items()})
        elif _LAYERS.search(str(key)):
            numbers = value if isinstance(value, (list, tuple)) else [value]
            yield from ((key, number) for number in [*numbers, len(numbers)] if isinstance(number, (int, float)))
