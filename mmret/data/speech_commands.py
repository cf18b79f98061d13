"""Speech Commands V2 (Warden, 2018): 105,829 words of 1 s, 35 classes; folders are labels, two lists are the split."""

from __future__ import annotations

import os
from pathlib import Path

from mmret.data.labelled import LabelledClip, listed, require_found
from mmret.data.tables import require_files

LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}
NOISE = "_background_noise_"
WHERE = (
    "fetch http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz (2.3 GB) and give the unpacked folder, "
    "the one that holds a folder a word, validation_list.txt and testing_list.txt"
)


def read_speech_commands(root: str | os.PathLike[str]) -> list[LabelledClip]:
    """All words, sorted by name; what neither list names is for training."""
    root = Path(root)
    parts = {
        line: part
        for name, part in LISTS.items()
        for line in listed(root, name, what="Speech Commands V2", where=WHERE)
    }
    require_files([root / line for line in parts], where=WHERE)
    found = [path for path in sorted(root.glob("*/*.wav")) if path.parent.name != NOISE]
    clips = [
        LabelledClip(path, (path.parent.name,), parts.get(f"{path.parent.name}/{path.name}", "train")) for path in found
    ]
    return require_found(clips, root, what="Speech Commands V2", where=WHERE)
