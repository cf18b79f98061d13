"""Result files: one JSON an evaluation, with everything that its figures depend on and nothing that changes by the day.

{"protocol": {"name", ...}, "model": {...}, "sizes": {"A", "T"}, "metrics": {...}, "intervals": {name: [low, high]},
"versions": {package: version}, ...}; fractions, rounded so that a repeated run gives the same file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_DIGITS = 6
_PACKAGES = ("mmret", "numpy", "soundfile", "soxr", "onnxruntime", "torch", "transformers", "scikit-learn")


def write_result(path: str | os.PathLike[str], result: Mapping[str, Any]) -> Path:
    """Write one result with the versions of what made it; a result without protocol or metrics is refused."""
    missing = {"protocol", "model", "metrics"} - result.keys()
    if missing:
        raise ValueError(f"a result needs {', '.join(sorted(missing))}: figures without their protocol mean nothing")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = _plain({**result, "versions": installed_versions()})
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def describe_model(encoder: Any) -> dict[str, Any]:
    """What tells one encoder from another, and how it makes one vector of a clip."""
    window_s, hop_s = encoder.windows.window_s, encoder.windows.hop_s
    return {
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "sample_rate": encoder.sample_rate,
        "runtime": encoder.runtime,
        "audio_vector": f"windows of {window_s:g} s every {hop_s:g} s, mean of their unit vectors, unit length",
    }


def installed_versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _plain(value: Any) -> Any:
    """Numbers and containers that JSON knows, floats rounded."""
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(field) for field in asdict(value).values()]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), _DIGITS)
    return int(value) if isinstance(value, np.integer) else value
