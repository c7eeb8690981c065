import numpy as np
import pytest
from scipy import stats

from ksl_bench.significance.resampling import resample
from ksl_bench.significance.variances import (
    Variances,
    doubt,
    guarded_p_value,
    half_width,
    p_value,
    split,
    t_quantile,
)


def variances(seeds, sentences, interaction=0.0, *, freedom=2, sentence_freedom=99):
    return Variances(
        ((np.asarray(seeds), freedom),),
        np.asarray(sentences),
        sentence_freedom,
        np.asarray(interaction),
    )


def test_the_parts_are_those_of_a_two_way_analysis_of_variance():
    """For a plain mean the bootstrap's parts are the mean squares, up to the chance of the resamples."""
    draw = np.random.default_rng(3)
    seeds, n = 4, 60
    scores_RN = draw.normal(size=(seeds, n)) + 2 * draw.normal(size=(1, n))
    scores_RN += 0.3 * draw.normal(size=(seeds, 1))
    counts_BN = resample(n, 20_000).counts_BN
    found = split(scores_RN.mean(axis=1), counts_BN @ scores_RN.T / n, n)
    rest = scores_RN - scores_RN.mean(axis=0) - scores_RN.mean(axis=1)[:, None] + scores_RN.mean()
    interaction = (rest**2).sum() / ((seeds - 1) * (n - 1)) / (seeds * n)
    assert found.seeds[0][0] == pytest.approx(scores_RN.mean(axis=1).var(ddof=1) / seeds)
    assert found.seeds[0][1] == seeds - 1
    assert found.sentences == pytest.approx(scores_RN.mean(axis=0).var(ddof=1) / n, rel=0.04)
    assert found.interaction == pytest.approx(interaction, rel=0.05)


def test_the_interaction_is_counted_once():
    parts = variances(3.0, 2.0, 0.5)
    assert parts.total == 3.0 + 2.0 - 0.5
    assert variances(3.0, 0.2, 0.5).total == 3.0


def test_one_part_alone_is_students_t():
    """scipy's one-sample t interval of the seeds' scores."""
    scores = np.array([30.1, 31.4, 29.7, 30.6])
    parts = split(scores, np.tile(scores, (10, 1)), 50)
    low, high = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert parts.degrees_of_freedom == 3
    assert half_width(parts, 0.05) == pytest.approx((high - low) / 2)
    gaps = scores - 29.5
    assert p_value(gaps.mean(), parts) == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    assert guarded_p_value(gaps.mean(), parts) == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)


def test_degrees_of_freedom_are_satterthwaites_with_the_seeds_at_their_upper_end():
    upper = 2 * 1.5 / stats.chi2.ppf(0.25, 2)
    expected = (upper + 4.0) ** 2 / (upper**2 / 2 + 4.0**2 / 99)
    assert doubt(2) == pytest.approx(2 / stats.chi2.ppf(0.25, 2))
    assert variances(1.5, 4.0).degrees_of_freedom == pytest.approx(expected)


def test_degrees_of_freedom_lie_between_those_of_the_parts():
    shares = np.linspace(0, 1, 21)
    found = variances(shares, 1 - shares).degrees_of_freedom
    assert found[0] == pytest.approx(99)
    assert found[-1] == pytest.approx(2)
    assert ((found >= 2) & (found <= 101)).all()


def test_p_is_below_alpha_just_where_the_interval_excludes_zero():
    parts = variances(1.0, 2.0, 0.5)
    for alpha in (0.05, 0.01):
        half = float(half_width(parts, alpha))
        assert p_value(half, parts) == pytest.approx(alpha)
        assert p_value(half * 0.99, parts) > alpha > p_value(-half * 1.01, parts)


def test_the_guarded_p_solves_banerjees_equation():
    parts = variances(1.0, 2.0, freedom=4)
    for value in (1.0, 4.0, 30.0):
        p = float(guarded_p_value(value, parts))
        needed = stats.t.isf(p / 2, 4) ** 2 * 1.0 + stats.t.isf(p / 2, 99) ** 2 * 2.0
        assert needed == pytest.approx(value**2, rel=1e-6)


def test_the_guarded_p_never_lies_below_the_exact_tail_of_two_known_parts():
    """A sum of two t variables (Behrens-Fisher), by quadrature with scipy, in the far tail."""
    t = np.linspace(-2000, 2000, 800_001)
    for value in (3.0, 8.0, 15.0):
        inner = 2 * stats.t.sf((value - np.sqrt(0.7) * t) / np.sqrt(0.3), 99)
        exact = np.trapezoid(inner * stats.t.pdf(t, 2), t)
        assert guarded_p_value(value, variances(0.7, 0.3)) >= exact * 0.99


def test_without_any_variance_equal_is_equal_and_different_is_different():
    none = variances(0.0, 0.0)
    assert p_value(0.0, none) == guarded_p_value(0.0, none) == 1
    assert 0 < p_value(1.0, none) < 1e-12
    assert 0 < guarded_p_value(1.0, none) < 1e-12
    assert half_width(none, 0.05) == 0


def test_quantiles_are_scipys():
    assert t_quantile([2, 10.5], 0.05) == pytest.approx(stats.t.isf(0.025, [2, 10.5]))


def test_unpaired_seeds_stand_together_at_their_upper_end():
    """Two sets of equal variance are one chi-squared of all their degrees of freedom."""
    apart = Variances(
        ((np.asarray(1.5), 2), (np.asarray(1.5), 2)), np.asarray(4.0), 99, np.asarray(0.0)
    )
    together = variances(3.0, 4.0, freedom=4)
    assert apart.degrees_of_freedom == pytest.approx(float(together.degrees_of_freedom))
