import itertools

import numpy as np
import pytest

from ksl_bench.detection.votes import majority, vote_share

ALL_BALLOTS = np.array(list(itertools.product([False, True], repeat=5))).T
"""Every way in which five detectors can vote, (5, 32)."""


def test_two_steps_vote_as_published():
    """2 of 3 statistics make one vote; with two classifiers, again 2 of 3."""
    entropy, rank, binoculars, first, second = ALL_BALLOTS
    statistical = majority([entropy, rank, binoculars])
    found = majority([first, second, statistical])
    for text in range(32):
        step = int(entropy[text]) + int(rank[text]) + int(binoculars[text]) >= 2
        assert found[text] == (int(first[text]) + int(second[text]) + int(step) >= 2)


def test_a_tie_is_human():
    assert majority([[True, True], [False, True]]).tolist() == [False, True]


def test_the_share_of_votes_is_the_score():
    assert vote_share(ALL_BALLOTS).tolist() == [sum(one) / 5 for one in ALL_BALLOTS.T]


def test_someone_must_vote():
    with pytest.raises(ValueError, match=r"\(detectors, texts\), got shape \(0, 3\)"):
        majority(np.zeros((0, 3)))
