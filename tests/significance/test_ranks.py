import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from ksl_bench.significance.ranks import holm, rank_systems
from ksl_bench.significance.resampling import resample, score_system

N = 60
DRAWN = resample(N, 200)


def board(levels, *, spread=0.2, seeds=5, seed=0):
    draw = np.random.default_rng(seed)
    scores = [level + spread * draw.normal(size=(seeds, N, 1)) for level in levels]
    return [score_system(range(seeds), one / N, lambda sums: sums[..., 0], DRAWN) for one in scores]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_statsmodels(seed):
    p_P = np.random.default_rng(seed).beta(0.3, 3, size=15).round(3)  # some tied
    assert holm(p_P) == pytest.approx(multipletests(p_P, method="holm")[1])


def test_holm_of_nothing_is_nothing():
    assert holm([]).shape == (0,)


def test_clearly_different_systems_have_one_rank_each():
    ranking = rank_systems(board([20, 40, 30]))
    assert [str(one) for one in ranking.ranks] == ["3", "1", "2"]
    assert [(pair.first, pair.second, pair.better) for pair in ranking.pairs] == [
        (0, 1, 1),
        (0, 2, 2),
        (1, 2, 1),
    ]
    assert ranking.speaks_of == "seeds and sentences"


def test_systems_that_cannot_be_told_apart_share_their_ranks():
    ranking = rank_systems(board([40, 40, 20, 40]))
    assert [str(one) for one in ranking.ranks] == ["1-3", "1-3", "4", "1-3"]


def test_identical_systems_are_never_ranked_apart():
    one, other = board([40, 20], spread=0.01)
    ranking = rank_systems([one, other, one])
    assert ranking.ranks[0] == ranking.ranks[2]
    assert str(ranking.ranks[0]) == "1-2"
    assert str(ranking.ranks[1]) == "3"
    assert ranking.pairs[1].difference.interval.value == 0
    assert ranking.pairs[1].adjusted_p_value == 1


def test_the_family_is_corrected_as_statsmodels_does():
    ranking = rank_systems(board([30, 30.1, 30.2, 30.3], seed=3))
    guarded = [pair.difference.guarded_p_value for pair in ranking.pairs]
    adjusted = [pair.adjusted_p_value for pair in ranking.pairs]
    assert adjusted == pytest.approx(multipletests(guarded, method="holm")[1])


def test_one_seed_anywhere_makes_the_ranks_speak_of_sentences():
    first, second = board([40, 20])
    third = board([30], seeds=1, seed=4)[0]
    assert rank_systems([first, second]).speaks_of == "seeds and sentences"
    assert rank_systems([first, second, third]).speaks_of == "sentences"


def test_one_system_alone_is_first():
    ranking = rank_systems(board([40]))
    assert [str(one) for one in ranking.ranks] == ["1"]
    assert ranking.pairs == ()


def test_equal_systems_are_rarely_ranked_apart():
    """A small perf/coverage.py: 200 leaderboards of 4, at the level where a plain t fails most."""
    wrong = 0
    draw = np.random.default_rng(5)
    for _ in range(200):
        systems = []
        for _ in range(4):
            scores = draw.normal(size=(3, 1)) + 0.33 * draw.normal(size=(1, N)) * np.sqrt(N / 3)
            stats_RNS = scores[:, :, None] / N
            systems.append(score_system(range(3), stats_RNS, lambda sums: sums[..., 0], DRAWN))
        wrong += any(pair.better is not None for pair in rank_systems(systems).pairs)
    assert wrong <= 18  # 95 % quantile of Binomial(200, 0.067) and a little
