"""Places where fixtures and real recordings are found; tests skip with a reason where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def parity_dir(name: str) -> Path:
    """Folder of reference numbers, MMRET_PARITY/name; skips the test when it is absent."""
    folder = Path(os.environ.get("MMRET_PARITY", SHARED / "parity")) / name
    if not folder.is_dir():
        pytest.skip(f"no reference numbers at {folder}; set MMRET_PARITY")
    return folder


def shared_data(name: str) -> Path:
    """Folder of real recordings, MMRET_SHARED_DATA/name; skips the test when it is absent."""
    folder = Path(os.environ.get("MMRET_SHARED_DATA", SHARED / "data")) / name
    if not folder.exists():
        pytest.skip(f"no recordings at {folder}; set MMRET_SHARED_DATA")
    return folder


def parity_files(name: str, pattern: str) -> list[Path]:
    """Fixtures of one kind, by name pattern; an empty list where there are none (for parametrize)."""
    folder = Path(os.environ.get("MMRET_PARITY", SHARED / "parity")) / name
    return sorted(folder.glob(pattern))
