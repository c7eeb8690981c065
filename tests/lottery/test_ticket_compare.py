"""Overlaps counted by hand, rank correlations by their formulas."""

import json
from dataclasses import asdict, replace

import pytest
from scipy import stats

from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket_compare import compare_tickets, seed_ceiling


@pytest.fixture
def named(make_ticket):
    """Return a maker of named tickets: `named(a=[3, 1], b=[1, 2])`."""
    return lambda **rows: [(name, make_ticket(ids)) for name, ids in rows.items()]


def test_the_first_k_rows_are_compared_as_sets(named):
    (found,) = compare_tickets(named(a=[1, 2, 3, 4, 5], b=[2, 1, 9, 3, 8]), sizes=[1, 2, 4])
    assert (found.first, found.second) == ("a", "b")
    assert [(one.k, one.shared) for one in found.overlaps] == [(1, 0), (2, 2), (4, 3)]
    # of 4 and 4 rows with 3 shared, 5 are in either
    assert [one.jaccard for one in found.overlaps] == [0.0, 1.0, 3 / 5]
    assert {one.seed_ceiling for one in found.overlaps} == {None}


def test_by_default_as_far_as_the_smaller_ticket_goes(named):
    def sizes(one, two):
        (found,) = compare_tickets(named(a=list(range(one)), b=list(range(two))))
        return [overlap.k for overlap in found.overlaps]

    assert sizes(3, 70) == [3]
    assert sizes(18, 20) == [4, 18]
    assert sizes(70, 90) == [4, 18, 64, 70]


def test_rank_correlations_are_those_of_the_rows_in_both(named):
    # In both: 1 2 3 4, which b orders 2 1 3 4. Spearman: 1 - 6 (1 + 1) / (4 * 15) = 0.8.
    # Kendall: five pairs of six in the same order, one in the other: 4 / 6.
    (found,) = compare_tickets(named(a=[1, 7, 2, 3, 4], b=[2, 1, 3, 8, 9, 4]))
    assert found.rows_in_both == 4
    assert found.spearman == pytest.approx(0.8)
    assert found.kendall == pytest.approx(2 / 3)
    (turned,) = compare_tickets(named(a=[1, 2, 3], b=[3, 2, 1]))
    assert (turned.spearman, turned.kendall) == pytest.approx((-1, -1))


def test_of_two_rows_there_is_no_rank_correlation(named):
    (found,) = compare_tickets(named(a=[1, 2, 3], b=[2, 1, 9]))
    assert (found.rows_in_both, found.spearman, found.kendall) == (2, None, None)
    assert json.loads(json.dumps(asdict(found)))["spearman"] is None


def test_every_two_of_several_are_compared(named):
    found = compare_tickets(named(a=[1, 2], b=[2, 3], c=[3, 1]))
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_an_overlap_is_held_against_what_seeds_share(named):
    seeds = named(s=[1, 2, 3, 4], t=[1, 2, 3, 9], u=[1, 2, 8, 7])  # share 3, 2 and 2 of four
    (found,) = compare_tickets(named(a=[1, 2, 3, 4], b=[9, 8, 2, 1]), sizes=[4], seeds=seeds)
    (overlap,) = found.overlaps
    assert overlap.shared == 2
    assert overlap.seed_ceiling == pytest.approx(7 / 3)
    assert overlap.of_ceiling == pytest.approx(6 / 7)


def test_where_seeds_share_nothing_or_are_too_small_there_is_no_share_of_it(named):
    pair = named(a=[1, 2, 3], b=[1, 2, 4])
    (apart,) = compare_tickets(pair, seeds=named(s=[1, 2, 3], t=[4, 5, 6]))
    assert [(one.seed_ceiling, one.of_ceiling) for one in apart.overlaps] == [(0.0, None)]
    assert seed_ceiling(named(s=[1, 2], t=[1, 2]), 3) is None


def test_other_matrices_are_refused_by_name(named, make_ticket):
    ticket = make_ticket([1, 2])
    for change, said in (
        ({"base_digest": "1" * 64, "base_model": "other"}, "'other' (digest 111111111111)"),
        ({"tensor": "output_head"}, "output_head"),
    ):
        with pytest.raises(
            TicketError, match=r"one is for the input_embedding of 'tiny'"
        ) as caught:
            compare_tickets([("one", ticket), ("two", replace(ticket, **change))])
        assert said in str(caught.value)


def test_other_tokenizers_are_refused_where_they_are_known(make_ticket):
    unknown = make_ticket([1, 2])
    one, two = (replace(unknown, tokenizer_digest=digit * 64) for digit in "12")
    compare_tickets([("unknown", unknown), ("one", one)])
    with pytest.raises(TicketError, match="one is for the tokenizer of 'tiny'"):
        compare_tickets([("unknown", unknown), ("one", one), ("two", two)])


def test_a_ticket_smaller_than_k_is_named(named):
    with pytest.raises(TicketError, match=r"k: must be <= 2 \(the rows of b\), got 3"):
        compare_tickets(named(a=[1, 2, 3], b=[1, 2]), sizes=[2, 3])


def test_seeds_must_be_two_tickets_of_one_criterion(named, make_ticket):
    pair = named(a=[1, 2], b=[2, 3])
    for seeds in (pair[:1], [pair[0], pair[0]]):
        with pytest.raises(TicketError, match="at least two different tickets, got a"):
            compare_tickets(pair, seeds=seeds)
    other = ("l", replace(make_ticket([1, 2]), criterion="l2"))
    with pytest.raises(TicketError, match="a is a 'ks' ticket and l a 'l2' ticket"):
        compare_tickets(pair, seeds=[pair[0], other])
    with pytest.raises(TicketError, match="at least two tickets, got 1"):
        compare_tickets(pair[:1])


def test_over_the_vocabulary_rows_that_one_ticket_leaves_out_share_its_last_rank(make_ticket):
    (found,) = compare_tickets([("a", make_ticket([4, 5, 6])), ("b", make_ticket([4, 7, 5]))])
    # Ranks of rows 4, 5, 6 and 7: (1, 2, 3, last) and (1, 3, last, 2)
    expected = stats.spearmanr([1, 2, 3, 4], [1, 3, 4, 2]).statistic
    assert found.vocabulary_spearman == pytest.approx(expected)
