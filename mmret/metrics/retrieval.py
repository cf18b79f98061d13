"""Retrieval in numbers: hit, recall, precision, average precision, reciprocal rank, nDCG and rank statistics.

Values are fractions, averaged over queries without weights. "R@k" in audio-text papers is `hit@k` here; with one
relevant item per query it equals `recall@k`, and `map@10` equals `mrr@10`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.metrics.bootstrap import Interval, bootstrap_interval
from mmret.metrics.ranking import RelevantRanks, Scores, TiePolicy, relevance_from_owner, relevant_ranks

_TIE_GAP = 0.001  # hit@1 may differ this much between tie policies before the scores are called degenerate


@dataclass(frozen=True)
class Cutoffs:
    """Where lists are cut: `hits` for hit@k, recall@k and precision@k, `depth` for map@k, mrr@k and ndcg@k."""

    hits: tuple[int, ...] = (1, 5, 10)
    depth: int = 10

    def __post_init__(self) -> None:
        """Refuse lists without an item."""
        if min((*self.hits, self.depth)) < 1:
            raise ValueError(f"a list is cut after at least one item; got hits {self.hits}, depth {self.depth}")


DEFAULT_CUTOFFS = Cutoffs()


@dataclass(frozen=True)
class RetrievalReport:
    """One direction of retrieval: `metrics` under the worst tie policy, hit@1 under the best, intervals at 95 %."""

    metrics: dict[str, float]
    hit_at_1_best_ties: float
    intervals: dict[str, Interval]


def average_precision(positions: NDArray[np.int64], *, depth: int | None = None) -> float:
    """(1/R) sum of j / p_j over the relevant positions p_j <= depth (ascending, from 1).

    >>> average_precision(np.array([1, 4]))
    0.75
    """
    precision = np.arange(1, positions.size + 1) / positions
    return float(precision[_within(positions, depth)].sum() / positions.size)


def ndcg(positions: NDArray[np.int64], *, depth: int) -> float:
    """Discounted gain of binary relevance over that of the ideal order, both cut at depth.

    >>> ndcg(np.array([1, 2]), depth=10)
    1.0
    """
    ideal = np.arange(1, min(positions.size, depth) + 1)
    gained = positions[positions <= depth]
    return float((1 / np.log2(gained + 1)).sum() / (1 / np.log2(ideal + 1)).sum())


def query_metrics(ranks: RelevantRanks, *, cutoffs: Cutoffs = DEFAULT_CUTOFFS) -> dict[str, NDArray[np.float64]]:
    """Every metric of every kept query, name -> (queries,); their means are what papers print."""
    first, total, depth = ranks.first, ranks.n_relevant, cutoffs.depth
    values: dict[str, NDArray[np.float64]] = {}
    for k in cutoffs.hits:
        found = np.array([(positions <= k).sum() for positions in ranks.positions])
        values[f"hit@{k}"] = (first <= k).astype(np.float64)
        values[f"recall@{k}"] = found / total
        values[f"precision@{k}"] = found / k
    cut = np.array([average_precision(positions, depth=depth) for positions in ranks.positions])
    values[f"map@{depth}"] = cut
    # with more relevant items than places, plain map@k cannot reach 1
    values[f"map@{depth}_min"] = cut * total / np.minimum(total, depth)
    values["map"] = np.array([average_precision(positions) for positions in ranks.positions])
    values["mrr"] = 1 / first
    values[f"mrr@{depth}"] = np.where(first <= depth, 1 / first, 0.0)
    values[f"ndcg@{depth}"] = np.array([ndcg(positions, depth=depth) for positions in ranks.positions])
    return values


def summarise(ranks: RelevantRanks, *, cutoffs: Cutoffs = DEFAULT_CUTOFFS) -> dict[str, float]:
    """Means over queries, the rank statistics, `n_queries` and `n_excluded`."""
    first = ranks.first
    summary = {name: float(values.mean()) for name, values in query_metrics(ranks, cutoffs=cutoffs).items()}
    summary["med_r"] = float(np.floor(np.median(first - 1)) + 1)
    summary["median_rank"] = float(np.median(first))
    summary["mean_r"] = float(first.mean())
    summary["n_queries"] = len(ranks.positions)
    summary["n_excluded"] = ranks.n_excluded
    return summary


def retrieval_metrics(
    scores: Scores, relevant: NDArray[np.bool_], *, ties: TiePolicy = "worst", cutoffs: Cutoffs = DEFAULT_CUTOFFS
) -> dict[str, float]:
    """All metrics of scores (queries, gallery) against a relevance matrix of the same shape.

    >>> retrieval_metrics(np.array([[0.9, 0.1], [0.8, 0.2]]), np.eye(2, dtype=bool))["hit@1"]
    0.5
    """
    return summarise(relevant_ranks(scores, relevant, ties=ties), cutoffs=cutoffs)


def text_to_audio(
    similarity: Scores,
    owner: Sequence[int] | NDArray[np.int64],
    *,
    ties: TiePolicy = "worst",
    cutoffs: Cutoffs = DEFAULT_CUTOFFS,
) -> dict[str, float]:
    """Every caption asks for its audio: similarity (audio, captions), owner (captions,) the audio of each caption.

    >>> text_to_audio(np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]]), [0, 0, 1])["hit@1"]
    1.0
    """
    relevant = relevance_from_owner(owner, len(similarity))
    return retrieval_metrics(similarity.T, relevant.T, ties=ties, cutoffs=cutoffs)


def audio_to_text(
    similarity: Scores,
    owner: Sequence[int] | NDArray[np.int64],
    *,
    ties: TiePolicy = "worst",
    cutoffs: Cutoffs = DEFAULT_CUTOFFS,
) -> dict[str, float]:
    """Every audio asks for its captions: similarity (audio, captions), owner (captions,) the audio of each caption.

    >>> audio_to_text(np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]]), [0, 0, 1])["recall@1"]
    0.75
    """
    return retrieval_metrics(similarity, relevance_from_owner(owner, len(similarity)), ties=ties, cutoffs=cutoffs)


def retrieval_report(
    scores: Scores,
    relevant: NDArray[np.bool_],
    *,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
    seed: int = 0,
) -> RetrievalReport:
    """Metrics with 95 % intervals, bootstrapped over groups (queries,): a clip's captions go together.

    Warns where hit@1 hangs on how ties are settled: collapsed vectors, half precision or duplicated items.
    """
    ranks = relevant_ranks(scores, relevant)
    summary = summarise(ranks)
    best = float((relevant_ranks(scores, relevant, ties="best").first == 1).mean())
    if best - summary["hit@1"] > _TIE_GAP:
        warnings.warn(
            f"hit@1 is {summary['hit@1']:.3f} or {best:.3f} depending on how equal scores are ordered: "
            "look for collapsed or duplicated vectors",
            stacklevel=2,
        )
    kept = ranks.queries if groups is None else np.asarray(groups)[ranks.queries]
    intervals = {
        name: bootstrap_interval(values, kept, generator=np.random.default_rng(seed))
        for name, values in query_metrics(ranks).items()
    }
    return RetrievalReport(summary, best, intervals)


def _within(positions: NDArray[np.int64], depth: int | None) -> NDArray[np.bool_]:
    return np.ones(positions.shape, dtype=bool) if depth is None else positions <= depth
