"""One reader a corpus, each for the layout that its authors publish; nothing is ever downloaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmret.data.captioned import CaptionedClip, read_captioned
from mmret.data.circor import Patient, read_circor
from mmret.data.esc50 import Clip, read_esc50
from mmret.data.physionet2016 import HeartClip, read_physionet2016

READERS: Mapping[str, Callable[..., list[Any]]] = {
    "esc50": read_esc50,
    "captioned": read_captioned,
    "circor": read_circor,
    "physionet2016": read_physionet2016,
}

__all__ = [
    "READERS",
    "CaptionedClip",
    "Clip",
    "HeartClip",
    "Patient",
    "read_captioned",
    "read_circor",
    "read_esc50",
    "read_physionet2016",
]
