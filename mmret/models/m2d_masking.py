"""Which patches pre-training hides, and moving tokens between their place and the shuffled order of the mask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenMask:
    """A mask as the reference holds it.

    `ids_restore` (batch, tokens) undoes a shuffle whose first `len_keep` tokens stay visible.

    >>> TokenMask(torch.tensor([[2, 0, 1]]), len_keep=1).hidden
    tensor([[ True, False,  True]])
    """

    ids_restore: Tensor
    len_keep: int

    def __post_init__(self) -> None:
        """Refuse a mask that hides nothing or everything."""
        if self.ids_restore.ndim != 2 or not 0 < self.len_keep < self.ids_restore.shape[1]:
            raise ValueError(
                f"a mask over {tuple(self.ids_restore.shape)} tokens cannot keep {self.len_keep}; "
                "at least one token must be visible and one hidden"
            )

    @cached_property
    def ids_shuffle(self) -> Tensor:
        """Token index at every place of the shuffled order, (batch, tokens)."""
        return self.ids_restore.argsort(dim=1)

    @property
    def hidden(self) -> Tensor:
        """(batch, tokens), True where a token is hidden."""
        return self.ids_restore >= self.len_keep

    def shuffle(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, tokens, dim) in the shuffled order."""
        return _gather(tokens, self.ids_shuffle)

    def unshuffle(self, tokens: Tensor) -> Tensor:
        """Undo `shuffle`."""
        return _gather(tokens, self.ids_restore)

    def visible_of(self, tokens: Tensor) -> Tensor:
        """Visible ones of tokens (batch, tokens, dim), in shuffled order."""
        return _gather(tokens, self.ids_shuffle[:, : self.len_keep])

    def hidden_of(self, tokens: Tensor) -> Tensor:
        """Hidden ones of tokens (batch, tokens, dim), in shuffled order."""
        return _gather(tokens, self.ids_shuffle[:, self.len_keep :])


def _gather(tokens: Tensor, index: Tensor) -> Tensor:
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def visible_count(tokens: int, ratio: float) -> int:
    """Number of visible tokens; truncated float arithmetic, so 65 tokens at 0.8 leave 12 and not 13.

    >>> visible_count(65, 0.8)
    12
    """
    return int(tokens * (1 - ratio))


def mask_from_noise(noise: Tensor, len_keep: int) -> TokenMask:
    """Mask that keeps the `len_keep` smallest values of noise (batch, tokens)."""
    return TokenMask(noise.argsort(dim=1).argsort(dim=1), len_keep)


def random_mask(shape: tuple[int, int], ratio: float, generator: torch.Generator) -> TokenMask:
    """Unstructured mask of shape (batch, tokens), on the generator's device."""
    noise = torch.rand(shape, generator=generator, device=generator.device)
    return mask_from_noise(noise, visible_count(shape[1], ratio))


def column_run_mask(grid: tuple[int, int, int], ratio: float, run: int, generator: torch.Generator) -> TokenMask:
    """Mask of whole time columns in runs of `run`, for a grid (batch, rows, columns); all rows share it.

    Runs begin at random until int(columns * ratio) columns are hidden; the surplus of the last run is given back from
    the end of the grid. Hidden and visible tokens keep their natural order.

    >>> mask = column_run_mask((1, 2, 10), 0.5, 3, torch.Generator().manual_seed(0))
    >>> mask.len_keep, bool((mask.hidden[0, :10] == mask.hidden[0, 10:]).all())
    (10, True)
    """
    batch, rows, columns = grid
    wanted = int(columns * ratio)
    hidden = torch.zeros(batch, columns, dtype=torch.bool, device=generator.device)
    for row in hidden:
        while int(row.sum()) < wanted:
            start = int(torch.randint(columns, (), generator=generator, device=generator.device))
            row[start : start + run] = True
        row[row.nonzero()[wanted:, 0]] = False
    tokens = hidden[:, None].expand(-1, rows, -1).reshape(batch, rows * columns)
    shuffled = tokens.to(torch.uint8).argsort(dim=1, stable=True)
    return TokenMask(shuffled.argsort(dim=1), rows * (columns - wanted))
