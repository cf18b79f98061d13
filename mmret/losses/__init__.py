"""Losses as functions of arrays; nothing here imports another room."""

from mmret.losses.contrastive import (
    INITIAL_LOG_SCALE,
    clamp_log_scale_,
    gather_with_gradient,
    infonce,
    infonce_across_processes,
    infonce_one_way,
    pair_logits,
    top1_accuracy,
)

__all__ = [
    "INITIAL_LOG_SCALE",
    "clamp_log_scale_",
    "gather_with_gradient",
    "infonce",
    "infonce_across_processes",
    "infonce_one_way",
    "pair_logits",
    "top1_accuracy",
]
