import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from ksl_bench.significance.intervals import Interval
from ksl_bench.significance.power import minimum_detectable_difference


def interval(standard_error, freedom):
    variance = standard_error**2
    return Interval(
        0.0, -1.0, 1.0, freedom, standard_error, variance, 0.0, 0.0, "seeds and sentences"
    )


@pytest.mark.parametrize(
    ("seeds", "power", "alpha"),
    [(3, 0.8, 0.05), (5, 0.8, 0.05), (30, 0.8, 0.05), (5, 0.9, 0.01), (30, 0.9, 0.01)],
)
def test_one_pair_needs_what_statsmodels_says(seeds, power, alpha):
    effect = TTestPower().solve_power(nobs=seeds, alpha=alpha, power=power)
    found = minimum_detectable_difference([interval(0.4, seeds - 1)], power=power, alpha=alpha)
    assert found == pytest.approx(effect * np.sqrt(seeds) * 0.4, rel=1e-4)


def test_three_seeds_at_a_small_level_find_it_as_often_as_said():
    """Drawn, not computed: scipy's noncentral t, and statsmodels with it, fails this far out."""
    needed = minimum_detectable_difference([interval(1.0, 2)], power=0.9, alpha=0.01)
    draw = np.random.default_rng(0)
    errors = np.sqrt(draw.chisquare(2, size=200_000) / 2)
    found = np.abs(needed + draw.normal(size=200_000)) > stats.t.isf(0.005, 2) * errors
    assert found.mean() == pytest.approx(0.9, abs=0.003)


def test_many_degrees_of_freedom_need_the_normal_rule_of_thumb():
    assert minimum_detectable_difference([interval(1.0, 1e6)]) == pytest.approx(
        1.959964 + 0.841621, abs=1e-4
    )


def test_the_typical_pair_speaks_for_all():
    pairs = [interval(1.0, 1e6), interval(2.0, 1e6), interval(90.0, 2.0)]
    assert minimum_detectable_difference(pairs) == pytest.approx(
        2 * minimum_detectable_difference([interval(1.0, 1e6)])
    )


def test_more_comparisons_need_a_larger_difference():
    pairs = [interval(1.0, 4.0)] * 15
    assert minimum_detectable_difference(pairs, alpha=0.05 / 15) > minimum_detectable_difference(
        pairs
    )


def test_nothing_varies_and_anything_is_seen():
    assert minimum_detectable_difference([interval(0.0, 4.0)]) == 0


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        minimum_detectable_difference([])
    with pytest.raises(ValueError, match=r"power must be between alpha=0\.05 and 1, got 1"):
        minimum_detectable_difference([interval(1.0, 4.0)], power=1)
