"""Losses of labelled clips, with the means that M2D's learning rates are tuned to (EVAR)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of logits with rows of shares, both (batch, classes), a mean over samples AND classes.

    That is the usual cross entropy divided by the number of classes. Rows may be mixed: they need not be one-hot.
    """
    return -(targets * logits.log_softmax(dim=-1)).mean()


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of logits with multi-hot rows, both (batch, classes), a mean over all of them."""
    return functional.binary_cross_entropy_with_logits(logits, targets)


def balanced_weights(counts: Tensor) -> Tensor:
    """Weight of each class (classes,) from its number of samples: n / (classes * count), 1 where all are equal."""
    return counts.sum() / (len(counts) * counts)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of logits with rows of shares (batch, classes), classes weighted, a sum divided by the batch size.

    The published heart murmur recipe hands it `logits.softmax(dim=-1)`, so that it takes the softmax twice.
    """
    return functional.cross_entropy(logits, targets, weight=weights)
