"""The certificates' numerics, against SciPy, closed forms and sums written out."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ksl_bench.lottery.certificate import (
    ks_sum_certifies,
    largest_radius,
    lower_bounds,
    outside,
    prefix_norms,
    prefix_sums,
    radii,
)

VALUES_V = torch.tensor([0.0, 0.5, 0.25, 3.0, 4.0], dtype=torch.float64)
TOKENS = [3, 1, 3, 0, 4, 1]


def test_the_sum_counts_each_distinct_token_once():
    expected = [3.0, 3.5, 3.5, 3.5, 7.5, 7.5]
    assert prefix_sums(VALUES_V, TOKENS).tolist() == expected


def test_the_norm_counts_every_occurrence():
    expected = [9, 9.25, 18.25, 18.25, 34.25, 34.5]
    assert prefix_norms(VALUES_V, TOKENS).square().tolist() == pytest.approx(expected)


def test_the_norm_is_that_of_the_embedded_prefix():
    draw = torch.Generator().manual_seed(0)
    before, after = torch.randn(2, 5, 8, generator=draw, dtype=torch.float64)
    lengths = (after - before).norm(dim=1)
    for length in range(1, len(TOKENS) + 1):
        some = TOKENS[:length]
        embedded = (after[some] - before[some]).flatten().norm().item()
        assert prefix_norms(lengths, TOKENS)[length - 1].item() == pytest.approx(embedded)


def test_rows_of_the_ticket_contribute_nothing():
    values = VALUES_V.clone()
    assert outside(values, [3, 1]).tolist() == [0.0, 0.0, 0.25, 0.0, 4.0]
    assert torch.equal(values, VALUES_V)


@pytest.mark.parametrize(
    ("total", "first", "second", "certified"),
    [
        (0.0, 0.6, 0.4, True),
        (0.25, 0.75, 0.25, False),
        (0.2, 0.75, 0.25, True),
        (0, 0.5, 0.5, False),
    ],
)
def test_the_rule_asks_for_less_than_half_the_gap(total, first, second, certified):
    given = (torch.tensor([one], dtype=torch.float64) for one in (total, first, second))
    assert ks_sum_certifies(*given).tolist() == [certified]


@pytest.mark.parametrize("draws", [100, 1000])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_lower_bounds_are_those_of_scipy_s_exact_test(draws, alpha):
    successes = [0, 1, draws // 2, draws - 1, draws]
    expected = [
        stats.binomtest(one, draws, alternative="greater").proportion_ci(1 - alpha, "exact").low
        for one in successes
    ]
    assert lower_bounds(successes, draws=draws, alpha=alpha) == pytest.approx(expected, abs=1e-12)


def test_a_bound_is_above_the_truth_in_at_most_alpha_of_all_outcomes():
    """Exactly, by the binomial distribution: no simulation."""
    draws, alpha = 100, 0.05
    bounds = lower_bounds(torch.arange(draws + 1), draws=draws, alpha=alpha)
    for truth in (0.3, 0.5, 0.73, 0.9, 0.99):
        weights = stats.binom.pmf(np.arange(draws + 1), draws, truth)
        assert weights[bounds > truth].sum() <= alpha


def test_the_radius_is_the_normal_quantile_and_nothing_up_to_one_half():
    quantile = stats.norm.ppf(0.9)
    found = radii(np.array([0.0, 0.5, 0.9]), sigma=0.2)
    assert found == pytest.approx([0.0, 0.0, 0.2 * quantile])


def test_the_largest_radius_is_that_of_unanimous_draws():
    for draws in (100, 200, 1000, 100_000):
        unanimous = radii(lower_bounds([draws], draws=draws, alpha=0.001), sigma=0.1)
        assert largest_radius(sigma=0.1, draws=draws, alpha=0.001) == pytest.approx(unanimous[0])
    # Cohen et al. 2019 give "about four sigma" for N = 100,000, all of one class, alpha = 0.001.
    assert largest_radius(sigma=1.0, draws=100_000, alpha=0.001) == pytest.approx(3.8, abs=0.05)


def test_the_radius_is_tight_for_a_half_space():
    """A linear classifier at distance d: its smoothed class has probability Phi(d / sigma), radius d."""
    sigma, distance = 0.3, 0.42
    inside, _ = integrate.quad(stats.norm(0, sigma).pdf, -12 * sigma, distance)
    assert math.isclose(radii(np.array([inside]), sigma=sigma)[0], distance, rel_tol=1e-9)
