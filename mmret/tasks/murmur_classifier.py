"""A fine-tuned classifier of Absent, Present and Unknown, as train/murmur.py makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForAudioClassification, PreTrainedModel

from mmret.audio.segments import Segment
from mmret.data.circor import MURMURS, SAMPLE_RATE, SEGMENT, scoring_segments
from mmret.encoder.config_limits import check_config_file
from mmret.errors import MmretError, ModelFormatError
from mmret.metrics.murmur import MURMUR_CLASSES
from mmret.models import ConvClapConfig, M2DConfig
from mmret.models.fine_tuning import FineTuneConfig, FineTuning

KINDS = (M2DConfig.model_type, ConvClapConfig.model_type)
BATCH = 8


class MurmurClassifier:
    """Hears pieces of 5 s side by side; the rest of a recording is dropped, as in the published test."""

    classes: tuple[str, ...] = MURMUR_CLASSES
    sample_rate = SAMPLE_RATE
    piece_s = SEGMENT / SAMPLE_RATE

    def __init__(self, folder: Path) -> None:
        classifier = _opened(folder)
        labels = [str(label) for _, label in sorted(classifier.config.id2label.items())]
        rate = getattr(classifier.config, "sample_rate", None)
        if sorted(labels) != sorted(MURMURS) or rate != SAMPLE_RATE:
            raise ModelFormatError(
                f"{folder} tells {', '.join(labels[:5])} apart at {rate} Hz, not {', '.join(MURMURS)} at "
                f"{SAMPLE_RATE} Hz: give a folder that train/murmur.py made"
            )
        self.name = folder.name
        self._columns = [labels.index(label) for label in self.classes]
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._objective = FineTuning(classifier, FineTuneConfig()).eval().to(self._device)

    def pieces(self, waveform: NDArray[np.float32]) -> list[Segment]:
        """Waveform (time,) at 16 kHz -> pieces (80000,); a short recording is filled up with zeros."""
        starts = np.arange(len(cut := scoring_segments(waveform))) * self.piece_s
        return [Segment(float(start), float(start) + self.piece_s, one) for start, one in zip(starts, cut, strict=True)]

    @torch.inference_mode()
    def logits(self, pieces: list[Segment]) -> NDArray[np.float64]:
        """Logits (pieces, 3) of Present, Unknown and Absent."""
        batches = [pieces[at : at + BATCH] for at in range(0, len(pieces), BATCH)]
        heard = (torch.from_numpy(np.stack([piece.waveform for piece in batch])) for batch in batches)
        logits = torch.cat([self._objective.predict(batch.to(self._device)) for batch in heard])
        return np.asarray(logits.double().cpu().numpy()[:, self._columns])


def _opened(folder: Path) -> PreTrainedModel:
    """The classifier in a folder, refused where weights are missing."""
    try:
        check_config_file(folder)
        kind = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).model_type
        if kind not in KINDS:
            raise ModelFormatError(f"{folder} is a {kind} model; heart sounds are classified by {', '.join(KINDS)}")
        classifier, report = AutoModelForAudioClassification.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, local_files_only=True
        )
    except MmretError:
        raise
    except Exception as error:  # transformers and the packages below it raise many kinds, some of their own
        raise ModelFormatError(f"{folder} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if report["missing_keys"]:
        raise ModelFormatError(f"{folder} lacks the weights {sorted(report['missing_keys'])[0]}: it is no classifier")
    opened: PreTrainedModel = classifier
    return opened
