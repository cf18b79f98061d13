"""Functions of numpy arrays that give numbers: retrieval, zero-shot classification, their prompts and intervals."""

from __future__ import annotations

from mmret.metrics.bootstrap import Interval, bootstrap_interval
from mmret.metrics.retrieval import (
    Cutoffs,
    RetrievalReport,
    audio_to_text,
    retrieval_metrics,
    retrieval_report,
    text_to_audio,
)
from mmret.metrics.spread import effective_rank, explained_variance_auc
from mmret.metrics.wilson import wilson_interval
from mmret.metrics.zero_shot import Accuracy, accuracy, multi_label_average_precision, prototypes, similarities

__all__ = [
    "Accuracy",
    "Cutoffs",
    "Interval",
    "RetrievalReport",
    "accuracy",
    "audio_to_text",
    "bootstrap_interval",
    "effective_rank",
    "explained_variance_auc",
    "multi_label_average_precision",
    "prototypes",
    "retrieval_metrics",
    "retrieval_report",
    "similarities",
    "text_to_audio",
    "wilson_interval",
]
