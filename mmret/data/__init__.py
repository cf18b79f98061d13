"""One reader a corpus, each for the layout that its authors publish; nothing is ever downloaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmret.data.captioned import CaptionedClip, read_captioned
from mmret.data.esc50 import Clip, read_esc50

READERS: Mapping[str, Callable[..., list[Any]]] = {
    "esc50": read_esc50,
    "captioned": read_captioned,
}

__all__ = ["READERS", "CaptionedClip", "Clip", "read_captioned", "read_esc50"]
