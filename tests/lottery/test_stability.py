"""Overlap, rank correlation and regression against scipy and against hand-made orders."""

import numpy as np
import pytest
import torch
from scipy import stats

from ksl_bench.lottery.stability import overlap, rank_correlation, regress_rank


def test_overlap_counts_what_two_orders_share_in_their_first_k():
    assert [overlap([3, 1, 2, 9], [1, 3, 7, 2], k) for k in (1, 2, 3, 4)] == [0, 2, 2, 3]
    with pytest.raises(ValueError, match="k=5, but the orders have 4 and 9 rows"):
        overlap([1, 2, 3, 4], list(range(9)), 5)


def test_the_correlation_of_whole_orders_is_scipys():
    draw = np.random.default_rng(0)
    first, second = draw.permutation(40), draw.permutation(40)
    expected = stats.spearmanr(np.argsort(first), np.argsort(second)).statistic
    found = rank_correlation(first.tolist(), second.tolist(), rows=40)
    assert found == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(first.tolist(), first.tolist(), rows=40) == pytest.approx(1.0)


def test_rows_that_one_order_leaves_out_come_last_and_those_of_neither_say_nothing():
    # Ranks of rows 4, 5, 6, 7: (1, 2, 3, last) and (1, 3, last, 2)
    expected = stats.spearmanr([1, 2, 3, 4], [1, 3, 4, 2]).statistic
    for rows in (8, 800):
        assert rank_correlation([4, 5, 6], [4, 7, 5], rows=rows) == pytest.approx(expected)
    assert rank_correlation([1], [1], rows=9) is None


def test_the_regression_is_the_least_squares_solution():
    draw = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 500, (60,), generator=draw)
    template = torch.rand(60, generator=draw) < 0.3
    order = torch.randperm(60, generator=draw)[:40].tolist()
    found = regress_rank(order, counts, template)
    design = np.column_stack(
        [np.ones(40), np.log2(1.0 + counts[order].numpy()), template[order].numpy()]
    )
    ranks = np.arange(1, 41)
    solution, rest, *_ = np.linalg.lstsq(design, ranks, rcond=None)
    assert found.rows == 40
    assert found.log_count.value == pytest.approx(solution[1])
    assert found.template.value == pytest.approx(solution[2])
    assert found.r_squared == pytest.approx(1 - rest[0] / ((ranks - ranks.mean()) ** 2).sum())
    # the interval by its own formula: t quantile times the standard error
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rest[0] / 37)
    half = stats.t.ppf(0.975, 37) * errors[1]
    assert found.log_count.high - found.log_count.value == pytest.approx(half)


def test_frequent_tokens_first_is_a_negative_effect_of_the_count():
    counts = torch.arange(30)
    found = regress_rank(list(range(29, -1, -1)), counts, torch.zeros(30, dtype=torch.bool))
    assert found.log_count.high < 0
    assert found.template is None
    assert regress_rank([1, 2], counts, counts > 5) is None
