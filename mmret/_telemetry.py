"""Packages that report on their use to those who make them, loaded so that they do not.

What they read from the environment is set by `mmret/__init__.py`, as it counts from their first import on.
"""

from __future__ import annotations

import sys
from types import ModuleType

from mmret._optional import require

_INTELS = "openvino_telemetry"


def onnxruntime() -> ModuleType:
    """ONNX Runtime, which reports nothing; one that a program loaded before mmret has begun to, and is told to stop."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime  # type: ignore[no-any-return]


def openvino() -> ModuleType:
    """OpenVINO, which has no switch but a file in the user's home: it is loaded as if its reporter were not installed.

    MissingExtra where it is not installed itself.
    """
    before = sys.modules.get(_INTELS)
    sys.modules[_INTELS] = None  # type: ignore[assignment]  # this makes its import fail, and OpenVINO take a stub
    try:
        return require("openvino", extra="openvino")
    finally:
        del sys.modules[_INTELS]
        if before is not None:
            sys.modules[_INTELS] = before
