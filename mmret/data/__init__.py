"""One reader a corpus, each for the layout that its authors publish; nothing is ever downloaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmret.data.audioset import read_audioset, read_audioset_balanced
from mmret.data.captioned import CaptionedClip, read_captioned
from mmret.data.circor import Patient, read_circor
from mmret.data.crema_d import read_crema_d
from mmret.data.esc50 import Clip, read_esc50, read_esc50_labels
from mmret.data.fsd50k import read_fsd50k
from mmret.data.gtzan import read_gtzan
from mmret.data.labelled import Corpus, LabelledClip
from mmret.data.nsynth import read_nsynth
from mmret.data.physionet2016 import HeartClip, read_physionet2016
from mmret.data.speech_commands import read_speech_commands
from mmret.data.urbansound8k import read_urbansound8k
from mmret.data.voxceleb1 import read_voxceleb1
from mmret.data.voxforge import read_voxforge

READERS: Mapping[str, Callable[..., list[Any]]] = {
    "esc50": read_esc50,
    "captioned": read_captioned,
    "circor": read_circor,
    "physionet2016": read_physionet2016,
}

# What transfer is measured on, with the clip lengths of M2D's evaluation (EVAR).
CORPORA: Mapping[str, Corpus] = {
    "esc50": Corpus(read_esc50_labels, 5.0, folds=5),
    "urbansound8k": Corpus(read_urbansound8k, 4.0, folds=10),
    "speech_commands": Corpus(read_speech_commands, 1.0),
    "voxceleb1": Corpus(read_voxceleb1, 8.2),
    "voxforge": Corpus(read_voxforge, 5.8),
    "crema_d": Corpus(read_crema_d, 2.5),
    "gtzan": Corpus(read_gtzan, 30.0),
    "nsynth": Corpus(read_nsynth, 4.0),
    "fsd50k": Corpus(read_fsd50k, 7.6358, multi_label=True),
    "audioset_balanced": Corpus(read_audioset_balanced, 10.0, multi_label=True),
    "audioset": Corpus(read_audioset, 10.0, multi_label=True),
}

# Folds of a corpus that a shipped model learnt from, as its card says: their figures are no test of it.
LEARNT_FOLDS: Mapping[tuple[str, str], tuple[str, ...]] = {("mmret-mini", "esc50"): ("1", "2", "3")}

__all__ = [
    "CORPORA",
    "LEARNT_FOLDS",
    "READERS",
    "CaptionedClip",
    "Clip",
    "Corpus",
    "HeartClip",
    "LabelledClip",
    "Patient",
    "read_captioned",
    "read_circor",
    "read_esc50",
    "read_physionet2016",
]
