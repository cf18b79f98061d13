"""A place for the files of the cases."""

from __future__ import annotations

from tests.faults.conftest import place

__all__ = ["place"]
