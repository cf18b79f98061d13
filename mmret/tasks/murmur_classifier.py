"""A fine-tuned classifier of Absent, Present and Unknown, as train/murmur.py makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForAudioClassification

from mmret.audio.segments import Segment
from mmret.data.circor import MURMURS, SAMPLE_RATE, SEGMENT, scoring_segments
from mmret.encoder.torch_towers import open_network
from mmret.errors import ModelFormatError
from mmret.metrics.murmur import MURMUR_CLASSES
from mmret.models.fine_tuning import FineTuneConfig, FineTuning

BATCH = 8


class MurmurClassifier:
    """Hears pieces of 5 s side by side; the rest of a recording is dropped, as in the published test."""

    classes: tuple[str, ...] = MURMUR_CLASSES
    sample_rate = SAMPLE_RATE
    piece_s = SEGMENT / SAMPLE_RATE

    def __init__(self, folder: Path) -> None:
        classifier = open_network(str(folder), folder, AutoModelForAudioClassification)
        labels = [str(label) for _, label in sorted(classifier.config.id2label.items())]
        rate = getattr(classifier.config, "sample_rate", None)
        if sorted(labels) != sorted(MURMURS) or rate != SAMPLE_RATE:
            raise ModelFormatError(
                f"{folder} tells {', '.join(labels[:5])} apart at {rate} Hz, not {', '.join(MURMURS)} at "
                f"{SAMPLE_RATE} Hz: give a folder that train/murmur.py made"
            )
        self.name = folder.name
        self._columns = [labels.index(label) for label in self.classes]
        self._objective = FineTuning(classifier, FineTuneConfig()).to(classifier.device).eval()

    def pieces(self, waveform: NDArray[np.float32]) -> list[Segment]:
        """Waveform (time,) at 16 kHz -> pieces (80000,); a short recording is filled up with zeros."""
        starts = np.arange(len(cut := scoring_segments(waveform))) * self.piece_s
        return [Segment(float(start), float(start) + self.piece_s, one) for start, one in zip(starts, cut, strict=True)]

    @torch.inference_mode()
    def logits(self, pieces: list[Segment]) -> NDArray[np.float64]:
        """Logits (pieces, 3) of Present, Unknown and Absent."""
        batches = [pieces[at : at + BATCH] for at in range(0, len(pieces), BATCH)]
        heard = (torch.from_numpy(np.stack([piece.waveform for piece in batch])) for batch in batches)
        logits = torch.cat([self._objective.predict(batch.to(self._objective.classifier.device)) for batch in heard])
        return np.asarray(logits.double().cpu().numpy()[:, self._columns])
