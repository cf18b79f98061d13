"""Properties that retrieval metrics must have whatever the scores are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmret.metrics import Cutoffs, audio_to_text, retrieval_metrics, retrieval_report, text_to_audio

RATES = ("hit", "recall", "precision", "map", "mrr", "ndcg")


@st.composite
def judged_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores (queries, gallery) with many ties, and relevance with at least one relevant item in all."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(2, 12)))
    scores = draw(hnp.arrays(np.float64, shape, elements=st.integers(-3, 3).map(float)))
    relevant = draw(hnp.arrays(np.bool_, shape))
    relevant[0, 0] = True
    return scores, relevant


@given(judged_scores())
def test_worst_is_never_better_than_index_nor_index_than_best(case: tuple[np.ndarray, np.ndarray]) -> None:
    worst, index, best = (retrieval_metrics(*case, ties=ties) for ties in ("worst", "index", "best"))
    for name in worst:
        if name.startswith(RATES):
            assert worst[name] <= index[name] + 1e-12 and index[name] <= best[name] + 1e-12, name


@given(judged_scores())
def test_rates_lie_between_0_and_1(case: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = retrieval_metrics(*case)
    assert all(0 <= value <= 1 + 1e-12 for name, value in metrics.items() if name.startswith(RATES))
    assert 1 <= metrics["mean_r"] <= case[0].shape[1]


@given(judged_scores(), st.randoms(use_true_random=False))
def test_shuffling_the_gallery_changes_nothing(case: tuple[np.ndarray, np.ndarray], random: object) -> None:
    order = np.arange(case[0].shape[1])
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = retrieval_metrics(case[0][:, order], case[1][:, order])
    assert shuffled == pytest.approx(retrieval_metrics(*case), abs=1e-12)


@given(judged_scores(), st.floats(0.1, 10), st.integers(-5, 5))
def test_a_monotone_map_of_the_scores_changes_nothing(
    case: tuple[np.ndarray, np.ndarray], scale: float, shift: int
) -> None:
    assert retrieval_metrics(case[0] * scale + shift, case[1]) == retrieval_metrics(*case)


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_with_one_relevant_item_hit_is_recall_and_map_is_mrr(n: int, seed: int) -> None:
    metrics = retrieval_metrics(np.random.default_rng(seed).normal(size=(n, n)), np.eye(n, dtype=bool))
    assert metrics["hit@5"] == metrics["recall@5"]
    assert metrics["map@10"] == pytest.approx(metrics["mrr@10"])


def test_a_constant_model_scores_nothing() -> None:
    owner = np.repeat(np.arange(20), 5)
    flat = np.zeros((20, 100))
    assert text_to_audio(flat, owner)["hit@1"] == 0
    assert audio_to_text(flat, owner)["hit@10"] == 0


def test_a_perfect_model_scores_everything() -> None:
    owner = np.repeat(np.arange(6), 3)
    perfect = (np.arange(6)[:, None] == owner).astype(np.float32)
    for metrics in (text_to_audio(perfect, owner), audio_to_text(perfect, owner)):
        assert metrics["hit@1"] == metrics["map"] == metrics["map@10"] == metrics["ndcg@10"] == 1
    assert audio_to_text(perfect, owner)["recall@1"] == pytest.approx(1 / 3)


def test_with_more_than_k_relevant_items_only_the_min_form_reaches_one() -> None:
    relevant = np.array([[True] * 20 + [False] * 5])
    metrics = retrieval_metrics(relevant.astype(float), relevant)
    assert metrics["map@10"] == pytest.approx(0.5)
    assert metrics["map@10_min"] == pytest.approx(1.0)


def test_any_cutoff_can_be_asked_for() -> None:
    metrics = retrieval_metrics(np.eye(3), np.eye(3, dtype=bool), cutoffs=Cutoffs(hits=(2,), depth=16))
    assert {"hit@2", "map@16", "map@16_min", "mrr@16", "ndcg@16"} <= metrics.keys()


def test_a_cutoff_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        Cutoffs(hits=(0,))


def test_report_warns_when_hits_hang_on_ties() -> None:
    with pytest.warns(UserWarning, match="equal scores"):
        report = retrieval_report(np.zeros((4, 4)), np.eye(4, dtype=bool))
    assert (report.metrics["hit@1"], report.hit_at_1_best_ties) == (0, 1)


def test_report_intervals_hold_the_mean_and_repeat() -> None:
    rng = np.random.default_rng(0)
    scores, relevant = rng.normal(size=(30, 30)) + np.eye(30), np.eye(30, dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = retrieval_report(scores, relevant)
    assert report == retrieval_report(scores, relevant)
    for name, interval in report.intervals.items():
        assert interval.low <= report.metrics[name] <= interval.high


def test_report_draws_the_captions_of_a_clip_together() -> None:
    owner = np.repeat(np.arange(8), 5)
    sim = np.random.default_rng(1).normal(size=(8, 40))
    sim[:4] += 5 * (np.arange(4)[:, None] == owner)
    relevant = (np.arange(8)[:, None] == owner).T
    together = retrieval_report(sim.T, relevant, groups=owner).intervals["hit@1"]
    apart = retrieval_report(sim.T, relevant).intervals["hit@1"]
    assert together.high - together.low > apart.high - apart.low
