"""mmret makes recordings searchable: words, sounds and spans of time in one space.

Public names resolve on first use (PEP 562), so `import mmret` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmret.encoder import Encoder
    from mmret.errors import MmretError
    from mmret.tasks.search import Hit, Index

__version__ = "0.1.0"

# ONNX Runtime and the packages of Hugging Face report on their use; the former writes to the user's home for that as
# soon as it is imported. So this is set before anything else, whatever was set before.
os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")

__all__ = ["Encoder", "Hit", "Index", "MmretError", "__version__"]

_HOMES = {
    "Encoder": "mmret.encoder",
    "Hit": "mmret.tasks.search",
    "Index": "mmret.tasks.search",
    "MmretError": "mmret.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmret' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
