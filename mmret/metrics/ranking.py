"""Order a gallery for each query, with ties settled by an explicit policy, and find the relevant items in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

TiePolicy = Literal["worst", "best", "index"]
Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class RelevantRanks:
    """Positions of the relevant items, counted from 1 and ascending, for the queries that have any.

    `positions[i]` belongs to query `queries[i]`; `gallery` is the number of items that were ranked.
    """

    positions: tuple[NDArray[np.int64], ...]
    queries: NDArray[np.int64]
    n_excluded: int
    gallery: int

    @property
    def first(self) -> NDArray[np.int64]:
        """Position of the best relevant item of each kept query (queries,)."""
        return np.array([positions[0] for positions in self.positions], dtype=np.int64)

    @property
    def n_relevant(self) -> NDArray[np.int64]:
        """Number of relevant items of each kept query (queries,)."""
        return np.array([positions.size for positions in self.positions], dtype=np.int64)


def rank(scores: Scores, relevant: NDArray[np.bool_], *, ties: TiePolicy = "worst") -> NDArray[np.int64]:
    """Order of one query's gallery, best first: scores (gallery,), relevant (gallery,) -> item numbers (gallery,).

    Equal scores: `worst` puts relevant items last, `best` first, `index` keeps the gallery's own order.

    >>> rank(np.array([1.0, 1.0, 2.0]), np.array([True, False, False])).tolist()
    [2, 1, 0]
    """
    if ties == "index":
        return np.argsort(-scores, kind="stable").astype(np.int64)
    behind = relevant if ties == "worst" else ~relevant
    # lexsort is stable, so the gallery's order settles what is still equal
    return np.lexsort((behind, -scores)).astype(np.int64)


def relevant_ranks(scores: Scores, relevant: NDArray[np.bool_], *, ties: TiePolicy = "worst") -> RelevantRanks:
    """Where each query's relevant items land: scores and relevant, both (queries, gallery).

    Queries without a relevant item are left out and counted. NaN is refused; -inf is an ordinary last place.

    >>> relevant_ranks(np.array([[0.1, 0.9]]), np.array([[True, False]])).first.tolist()
    [2]
    """
    scores, relevant = np.asarray(scores), np.asarray(relevant, dtype=bool)
    _check(scores, relevant, ties)
    queries = np.flatnonzero(relevant.any(axis=1))
    if queries.size == 0:
        raise ValueError(f"none of the {len(scores)} queries has a relevant item: nothing can be measured")
    positions = tuple(
        np.flatnonzero(relevant[query][rank(scores[query], relevant[query], ties=ties)]) + 1 for query in queries
    )
    return RelevantRanks(positions, queries, len(scores) - queries.size, scores.shape[1])


def relevance_from_owner(owner: Sequence[int] | NDArray[np.int64], n_audio: int) -> NDArray[np.bool_]:
    """Relevance (audio, captions) from the audio number of each caption (captions,).

    >>> relevance_from_owner([0, 0, 1], 2).astype(int).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    owner = np.asarray(owner, dtype=np.int64)
    if owner.size and not 0 <= owner.min() <= owner.max() < n_audio:
        raise ValueError(f"captions name audios {owner.min()} to {owner.max()}, but there are {n_audio} (from 0)")
    relevant: NDArray[np.bool_] = np.arange(n_audio)[:, None] == owner[None, :]
    return relevant


def relevance_from_captions(captions: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Relevance (audio, captions) where a clip answers every caption that equals one of its own.

    `captions` holds the captions of each audio; the columns are all of them in order. Case and blanks don't count.

    >>> relevance_from_captions([["a cow"], ["A  cow"], ["rain"]]).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    own = [{" ".join(text.lower().split()) for text in texts} for texts in captions]
    columns = [" ".join(text.lower().split()) for texts in captions for text in texts]
    return np.array([[column in texts for column in columns] for texts in own], dtype=bool).reshape(len(own), -1)


def _check(scores: Scores, relevant: NDArray[np.bool_], ties: str) -> None:
    if scores.ndim != 2 or scores.shape != relevant.shape:
        raise ValueError(f"scores {scores.shape} and relevant {relevant.shape} must both be (queries, gallery)")
    if np.isnan(scores).any():
        raise ValueError(f"scores hold {int(np.isnan(scores).sum())} NaN: look for a clip or a text without a vector")
    if ties not in get_args(TiePolicy):
        raise ValueError(f"ties must be one of {', '.join(get_args(TiePolicy))}, not {ties!r}")
