"""How many directions features use: falling numbers during pre-training tell of a representation that collapses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def variance_shares(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of the variance of features (samples, dim) along each principal direction, the largest first: (dim,)."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    variances = np.linalg.eigvalsh(centred.T @ centred)[::-1].clip(min=0)
    total = variances.sum()
    if not total > 0:
        raise ValueError(f"features of shape {features.shape} are all the same: they have no directions")
    return np.asarray(variances / total)


def effective_rank(features: NDArray[np.floating]) -> float:
    """exp of the entropy of the normalised singular values (Roy and Vetterli, EUSIPCO 2007): 1 to dim.

    >>> round(effective_rank(np.random.default_rng(0).standard_normal((5000, 8))), 1)
    8.0
    """
    singular = np.sqrt(variance_shares(features))
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def explained_variance_auc(features: NDArray[np.floating]) -> float:
    """Mean over the number of directions of the variance they explain together.

    Near 1 where one direction holds everything, (dim + 1) / (2 dim) where all hold alike.
    """
    return float(np.cumsum(variance_shares(features)).mean())
