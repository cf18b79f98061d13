"""Optional packages, asked for where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from mmret.errors import MissingExtra


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or raise MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(f'{module} is not installed. Run: pip install "mmret[{extra}]"') from error
