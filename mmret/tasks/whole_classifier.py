"""A network that was fine-tuned as a whole, on torch: recordings of any length as the mean over their pieces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from transformers import AutoModelForAudioClassification

from mmret.encoder.torch_towers import open_network
from mmret.errors import AudioError, ModelFormatError
from mmret.heads.linear import probabilities
from mmret.models.fine_tuning import FineTuneConfig, FineTuning
from mmret.tasks.classifier import Facts, Probabilities
from mmret.tasks.pieces import all_pieces, predict


class WholeClassifier:
    """Labels and their probabilities from a folder that `mmret finetune --whole` wrote."""

    def __init__(self, folder: Path, facts: Facts) -> None:
        network = open_network(str(folder), folder, AutoModelForAudioClassification)
        if network.config.num_labels != len(facts.labels):
            raise ModelFormatError(
                f"{folder}: its network tells {network.config.num_labels} classes apart, {len(facts.labels)} are named"
            )
        self._network = FineTuning(network, FineTuneConfig()).to(network.device).eval()
        self._unit_s = facts.unit_s
        self.labels = facts.labels

    def probabilities(self, path: str | os.PathLike[str]) -> Probabilities:
        """Probabilities (labels,) of one recording."""
        rate = self._network.classifier.config.sample_rate
        logits = predict(self._network, [Path(path)], lambda path: all_pieces(path, rate, self._unit_s))
        if not np.isfinite(logits).all():
            raise AudioError(path, "the model gives no finite number for it")
        found: Probabilities = probabilities(logits, multi_label=False)[0]
        return found
