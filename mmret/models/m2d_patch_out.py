"""Structured patch-out: fine-tuning on what is left when whole frequency rows and time columns of tokens are taken out.

M2D's `training_mask`, after PaSST (Koutini et al., "Efficient training of audio transformers with patchout", 2022).
"""

from __future__ import annotations

from math import floor

import numpy as np
import torch
from torch import Tensor


def patch_out_sizes(ratio: float, rows: int, columns: int, draw: float) -> tuple[int, int]:
    """Numbers of rows and columns to take out; `draw` in [0, 1) divides the ratio between the two.

    >>> patch_out_sizes(0.5, 5, 62, 0.5)
    (1, 19)
    """
    taken_rows = min(rows - 1, floor(rows * (ratio + 1 / rows) * draw))
    rest = max(ratio + 0.5 / columns - taken_rows / rows, 0)
    return taken_rows, floor(columns * rest)


def draw_marks(ratio: float, shape: tuple[int, int, int], generator: np.random.Generator) -> Tensor:
    """Marks (batch, rows, columns), True in the rows and columns to take out: as many in each sample."""
    batch, rows, columns = shape
    taken_rows, taken_columns = patch_out_sizes(ratio, rows, columns, float(generator.random()))
    row = generator.random((batch, rows)).argsort(axis=1) < taken_rows
    column = generator.random((batch, columns)).argsort(axis=1) < taken_columns
    return torch.from_numpy(row[:, :, None] | column[:, None, :])


def kept_tokens(marks: Tensor, *, compat_keep_marked: bool = False) -> Tensor:
    """Token numbers (batch, kept), frequency-major, for marks (batch, rows, columns).

    As many are kept as are unmarked, and these are the ones. The reference sorts its marks the other way round and so
    keeps the marked ones first; `compat_keep_marked` does as it does.
    """
    flat = marks.flatten(1)
    kept = int((~flat[0]).sum())
    return flat.to(torch.int8).argsort(dim=1, stable=True, descending=compat_keep_marked)[:, :kept]
