from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from ksl_bench.evaluation.statistics import corpus_scores, sentence_statistics
from ksl_bench.significance.intervals import (
    difference,
    differences,
    mean_interval,
    mean_intervals,
)
from ksl_bench.significance.resampling import resample, score_system

N = 80
DRAWN = resample(N, 400)


def mean(sums):
    return sums[..., 0]


def system(scores_RN, seeds=None, drawn=DRAWN):
    """A system whose metric is the mean of given scores of sentences."""
    scores = np.asarray(scores_RN, dtype=float)
    seeds = range(len(scores)) if seeds is None else seeds
    return score_system(seeds, scores[:, :, None] / scores.shape[1], mean, drawn)


def noise(seed, seeds=3, by_seed=1.0, by_sentence=1.0):
    draw = np.random.default_rng(seed)
    effects = by_seed * draw.normal(size=(seeds, 1)) + by_sentence * draw.normal(size=(1, N))
    return 30 + effects + 0.1 * draw.normal(size=(seeds, N))


def test_without_sentence_effects_the_interval_is_students_over_seeds():
    scores = np.repeat([[30.0], [31.0], [33.5]], N, axis=1)
    found = mean_interval(system(scores))
    expected = stats.ttest_1samp(scores[:, 0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found.degrees_of_freedom == 2
    assert found.speaks_of == "seeds and sentences"


def test_one_seed_speaks_of_the_sentences_only():
    scores = noise(0, seeds=1)
    found = mean_interval(system(scores))
    assert found.speaks_of == "sentences"
    assert found.seed_variance == 0
    assert found.degrees_of_freedom == N - 1
    low, high = stats.ttest_1samp(scores[0], 0).confidence_interval(0.95)
    assert found.high - found.low == pytest.approx(high - low, rel=0.15)


def test_a_system_against_itself_differs_by_nothing():
    one = system(noise(1))
    found = difference(one, one)
    interval = found.interval
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)
    assert (found.p_value, found.guarded_p_value) == (1, 1)
    assert np.isfinite(interval.degrees_of_freedom)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_equal_text_differs_by_nothing_however_its_seeds_are_named(metric):
    words = np.array(["the", "cat", "sat", "on", "a", "mat", "while", "two", "dogs"])
    draw = np.random.default_rng(0)
    references = [" ".join(draw.choice(words, 8)) for _ in range(N)]
    stats_NS = sentence_statistics(
        metric, [" ".join(draw.choice(words, 8)) for _ in range(N)], references, "eng"
    )
    stats_RNS = np.stack([stats_NS] * 3)
    first, same, renamed = (
        score_system(seeds, stats_RNS, lambda sums: corpus_scores(metric, sums), DRAWN)
        for seeds in ([1, 2, 3], [3, 1, 2], [7, 8, 9])
    )
    for other in (same, renamed):
        found = difference(first, other)
        assert (found.interval.value, found.interval.low, found.interval.high) == (0, 0, 0)
        assert found.p_value == found.guarded_p_value == 1


def test_seeds_are_paired_by_name_and_only_the_common_ones():
    scores = noise(2, seeds=4)
    shifts = np.array([[1.0], [2.0], [4.0]])
    first = system(scores[[3, 1, 0]] + shifts, seeds=[13, 11, 10])
    second = system(scores, seeds=[10, 11, 12, 13])
    found = difference(first, second)
    paired = stats.ttest_1samp(shifts[:, 0], 0)
    assert found.seeds == (13, 11, 10)
    assert found.interval.value == pytest.approx(shifts.mean())
    assert found.p_value == pytest.approx(paired.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        tuple(paired.confidence_interval(0.95))
    )


def test_no_common_seeds_add_up_the_variances_of_both():
    first, second = noise(3, seeds=3, by_sentence=0), noise(4, seeds=5, by_sentence=0)
    found = difference(system(first, [1, 2, 3]), system(second, [4, 5, 6, 7, 8]))
    by_seed = first.mean(axis=1), second.mean(axis=1)
    assert found.seeds == ()
    assert found.interval.value == pytest.approx(by_seed[0].mean() - by_seed[1].mean())
    assert found.interval.seed_variance == pytest.approx(
        by_seed[0].var(ddof=1) / 3 + by_seed[1].var(ddof=1) / 5
    )
    welch = stats.ttest_ind(*by_seed, equal_var=False)
    # Not narrower than Welch's: the degrees of freedom are the more careful ones.
    assert found.interval.low <= welch.confidence_interval(0.95).low
    assert found.interval.speaks_of == "seeds and sentences"


def test_one_unpaired_seed_speaks_of_the_sentences_only():
    found = difference(system(noise(5), [1, 2, 3]), system(noise(6, seeds=1), [9]))
    assert found.interval.speaks_of == "sentences"
    assert found.interval.seed_variance == 0


def test_a_fixed_system_is_paired_with_every_seed():
    tuned, base = noise(7), noise(8, seeds=1)
    found = difference(system(tuned, [1, 2, 3]), system(base, []))
    by_hand = difference(system(tuned, [1, 2, 3]), system(np.repeat(base, 3, axis=0), [1, 2, 3]))
    assert asdict(found.interval) == pytest.approx(asdict(by_hand.interval))
    assert (found.p_value, found.seeds) == (pytest.approx(by_hand.p_value), by_hand.seeds)
    back = difference(system(base, []), system(tuned, [1, 2, 3]))
    assert back.interval.value == -found.interval.value
    assert back.p_value == found.p_value
    both = difference(system(base, []), system(base + 1, []))
    assert both.interval.speaks_of == "sentences"
    assert both.seeds == ()


def test_shared_sentences_take_their_difficulty_out_of_a_difference():
    hard = 20 * np.random.default_rng(9).normal(size=(1, N))
    first, second = system(noise(10) + hard), system(noise(11) + hard)
    alone = mean_interval(first)
    assert difference(first, second).interval.sentence_variance < 0.1 * alone.sentence_variance


def test_documents_widen_an_interval_whose_sentences_agree_within_them():
    documents = np.repeat(np.arange(N // 8), 8)
    scores = 30 + np.random.default_rng(12).normal(size=N // 8)[documents][None]
    clustered = resample(N, 400, documents=documents.tolist())
    plain, whole = system(scores), system(scores, drawn=clustered)
    ratio = mean_interval(whole).sentence_variance / mean_interval(plain).sentence_variance
    assert mean_interval(whole).degrees_of_freedom == N // 8 - 1
    assert ratio == pytest.approx(8, rel=0.35)  # the design effect of eight equal sentences


def test_an_interval_at_another_level_is_wider():
    one = system(noise(13))
    wide, narrow = mean_interval(one, alpha=0.01), mean_interval(one)
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(ValueError, match="alpha must be between 0 and 1, got 5"):
        mean_interval(one, alpha=5)


def test_many_pairs_at_once_are_what_each_is_alone():
    one, two, other = system(noise(20)), system(noise(21)), system(noise(22), seeds=[2, 3, 4])
    alone, fixed = system(noise(23, seeds=1)), system(noise(24)[:1], seeds=[])
    pairs = [(one, two), (one, other), (two, alone), (fixed, one), (two, one), (fixed, fixed)]
    for found, pair in zip(differences(pairs), pairs, strict=True):
        expected = difference(*pair)
        assert found.seeds == expected.seeds
        assert found.guarded_p_value == pytest.approx(expected.guarded_p_value)
        assert asdict(found.interval) == pytest.approx(asdict(expected.interval))
    systems = [one, alone, two, fixed]
    for interval, each in zip(mean_intervals(systems), systems, strict=True):
        assert asdict(interval) == pytest.approx(asdict(mean_interval(each)))


def test_systems_on_other_resamples_are_not_compared():
    with pytest.raises(ValueError, match="same draw"):
        difference(system(noise(14)), system(noise(14), drawn=resample(N, 400, seed=1)))
