"""How rows are put in order, and how a ticket's size is fixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ksl_bench.errors import ConfigError, TicketError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.published import TICKETS, is_llama_tokenizer
from ksl_bench.lottery.selection import select


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tuned() -> Evidence:
    """Fifty rows of 64 values, of which every third stayed and the others moved, each further."""
    before = randn(50, 64)
    change = randn(50, 64, seed=1) * torch.linspace(0.01, 1.5, 50)[:, None]
    change[::3] = 0.0
    return Evidence(before_VD=before, after_VD=before + change)


def test_ks_orders_as_scipys_p_values_and_leaves_out_what_did_not_move(tuned):
    before, after = (matrix.numpy() for matrix in tuned.pair())
    moved = [row for row in range(50) if row % 3]
    p = {row: stats.ks_2samp(before[row], after[row], method="exact").pvalue for row in moved}
    shift = {row: np.linalg.norm(after[row].astype(float) - before[row]) for row in moved}
    expected = sorted(moved, key=lambda row: (round(p[row], 9), -shift[row], row))
    assert CRITERIA["ks"].rank(tuned).tolist() == expected


def test_rows_of_another_ticket_are_passed_over(tuned):
    order = CRITERIA["ks"].rank(tuned).tolist()
    taken = order[:4]
    found = select(CRITERIA["ks"], replace(tuned, k=5), excluded=taken)
    assert found.token_ids == order[4:9]
    below = select(CRITERIA["ks"], tuned, alpha=0.5).token_ids
    found = select(CRITERIA["ks"], tuned, alpha=0.5, excluded=taken)
    assert found.token_ids == [row for row in below if row not in taken]


def test_too_few_rows_are_left_because_earlier_tickets_took_the_others(tuned):
    order = CRITERIA["ks"].rank(tuned).tolist()
    said = "k=5, but only 3 of the 33 rows that moved are left; earlier tickets took the others"
    with pytest.raises(TicketError, match=f"^{said}$"):
        select(CRITERIA["ks"], replace(tuned, k=5), excluded=order[3:])
    with pytest.raises(TicketError, match=r"but earlier tickets took all 33 rows that moved$"):
        select(CRITERIA["ks"], tuned, alpha=0.5, excluded=order)
    with pytest.raises(TicketError, match=r"^k=64, but only 33 rows moved$"):
        select(CRITERIA["ks"], replace(tuned, k=64), excluded=[])


def test_ks_breaks_ties_by_the_length_of_the_change_then_by_id():
    before = torch.arange(8.0).repeat(4, 1)
    after = before.clone()
    after[0] += 100.0
    after[1] += 300.0
    after[2] += 100.0
    assert CRITERIA["ks"].rank(Evidence(before_VD=before, after_VD=after)).tolist() == [1, 0, 2]


def test_a_permuted_row_comes_last_but_is_eligible():
    before = torch.arange(8.0).repeat(3, 1)
    after = before.clone()
    after[1] = after[1].flip(0)
    after[2] += 0.5
    order = CRITERIA["ks"].rank(Evidence(before_VD=before, after_VD=after))
    assert order.tolist() == [2, 1]
    assert order.dtype == torch.int64


def test_frequency_orders_by_count_then_id_and_leaves_out_the_unseen():
    counts = torch.tensor([0, 5, 2, 9, 5, 0, 1])
    assert CRITERIA["frequency"].rank(Evidence(counts_V=counts)).tolist() == [3, 1, 4, 2, 6]


def test_random_shuffles_what_was_seen_by_its_seed():
    counts = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(0))
    seen = counts.nonzero().squeeze(-1).tolist()
    orders = [CRITERIA["random"].rank(Evidence(counts_V=counts, seed=seed)) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert orders[0].tolist() != orders[2].tolist()
    assert orders[0].tolist() != seen
    for order in orders:
        assert sorted(order.tolist()) == seen


def test_random_does_not_touch_the_global_generators():
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    CRITERIA["random"].rank(Evidence(counts_V=torch.ones(20, dtype=torch.int64)))
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_each_criterion_is_content_with_what_it_says_it_needs(name, tuned):
    criterion = CRITERIA[name]
    evidence = Evidence(
        before_VD=tuned.before_VD if "tuned" in criterion.needs else None,
        after_VD=tuned.after_VD if "tuned" in criterion.needs else None,
        counts_V=torch.arange(50) if "counts" in criterion.needs else None,
        template_V=torch.arange(50) < 9 if "template" in criterion.needs else None,
        gradient_V=torch.arange(50.0) if "gradient" in criterion.needs else None,
        bos_id=1 if "tokenizer" in criterion.needs else None,
        published_ids=(13, 29) if "languages" in criterion.needs else None,
        k=5,
    )
    order = criterion.rank(evidence)
    assert order.dtype == torch.int64
    assert len(set(order.tolist())) == len(order) > 0
    assert criterion.description


def test_an_unknown_criterion_names_the_closest_one():
    with pytest.raises(ConfigError, match=r"unknown criterion 'frequencies'.*'frequency'"):
        CRITERIA["frequencies"]


def test_a_selection_carries_what_scipy_finds(tuned):
    before, after = (matrix.double().numpy() for matrix in tuned.pair())
    selection = select(CRITERIA["ks"], replace(tuned, k=5))
    assert len(selection.token_ids) == 5
    for row, distance, p, l2 in zip(
        selection.token_ids, selection.distances, selection.p_values, selection.l2, strict=True
    ):
        expected = stats.ks_2samp(before[row], after[row], method="exact")
        assert distance == pytest.approx(expected.statistic, rel=1e-12)
        assert p == pytest.approx(expected.pvalue, rel=1e-8)
        assert l2 == pytest.approx(np.linalg.norm(after[row] - before[row]), rel=1e-12)


def test_alpha_takes_the_rows_below_it_and_no_other(tuned):
    before, after = (matrix.numpy() for matrix in tuned.pair())
    selection = select(CRITERIA["ks"], tuned, alpha=0.05)
    p = [stats.ks_2samp(before[row], after[row], method="exact").pvalue for row in range(50)]
    assert sorted(selection.token_ids) == [row for row in range(50) if p[row] < 0.05]
    assert selection.p_values == sorted(selection.p_values)


def test_counts_alone_have_no_distances():
    evidence = Evidence(counts_V=torch.tensor([1, 3]), k=2)
    selection = select(CRITERIA["frequency"], evidence)
    assert selection.token_ids == [1, 0]
    assert selection.distances is selection.p_values is selection.l2 is None


def test_counts_beside_a_tuned_matrix_have_distances(tuned):
    selection = select(CRITERIA["frequency"], replace(tuned, counts_V=torch.arange(50), k=2))
    assert selection.token_ids == [49, 48]
    assert selection.distances[0] > 0.0
    assert selection.distances[1] == 0.0  # row 48 is one that stayed
    assert selection.p_values[1] == 1.0


@pytest.mark.parametrize(
    ("name", "k", "alpha", "message"),
    [
        ("ks", 64, None, "k=64, but only 33 rows moved"),
        ("frequency", 64, None, "k=64, but only 49 rows were seen in tuning"),
        ("random", 50, None, "k=50, but only 49 rows were seen in tuning"),
        ("ks", 0, None, "k must be >= 1, got 0"),
        ("ks", None, 1e-200, r"no row has p < 1e-200; the smallest is \d"),
        ("frequency", None, 0.05, "alpha=0.05: this criterion has no p-values; give k"),
    ],
)
def test_a_ticket_that_cannot_be_filled_says_why(name, k, alpha, message, tuned):
    evidence = replace(tuned, counts_V=torch.arange(50), k=k)
    with pytest.raises(TicketError, match=f"^{message}"):
        select(CRITERIA[name], evidence, alpha=alpha)


def test_alpha_over_rows_that_all_stayed_says_so():
    rows = randn(3, 8)
    with pytest.raises(TicketError, match=r"alpha=0\.05, but no row moved"):
        select(CRITERIA["ks"], Evidence(before_VD=rows, after_VD=rows.clone()), alpha=0.05)


def test_a_diverged_state_is_a_ticket_error_that_names_the_row(tuned):
    after = tuned.after_VD.clone()
    after[7, 3] = float("nan")
    with pytest.raises(TicketError, match="after has a value that is not finite in row 7"):
        select(CRITERIA["ks"], Evidence(before_VD=tuned.before_VD, after_VD=after, k=5))


def test_the_length_of_a_change_is_taken_in_float64_over_all_rows():
    before, after = randn(300, 16), randn(300, 16, seed=1)
    expected = np.linalg.norm(after.numpy().astype(float) - before.numpy(), axis=1)
    np.testing.assert_allclose(
        Evidence(before_VD=before, after_VD=after).l2_V, expected, rtol=1e-14
    )


def test_ranking_takes_little_memory_beyond_the_matrices(peak_growth):
    before, after = randn(4000, 1024), randn(4000, 1024, seed=1)  # 16 MB each, 33 MB in float64
    evidence = Evidence(before_VD=before, after_VD=after)
    assert peak_growth(lambda: CRITERIA["ks"].rank(evidence)) < 24 * 2**20


def test_l2_and_cosine_order_as_numpy_has_them(tuned):
    before, after = (matrix.double().numpy() for matrix in tuned.pair())
    moved = [row for row in range(50) if row % 3]
    length = np.linalg.norm(after - before, axis=1)
    turn = 1 - (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(
        after, axis=1
    )
    assert CRITERIA["l2"].rank(tuned).tolist() == sorted(moved, key=lambda row: -length[row])
    assert CRITERIA["cosine"].rank(tuned).tolist() == sorted(moved, key=lambda row: -turn[row])


def test_the_gradient_orders_without_any_tuning():
    evidence = Evidence(gradient_V=torch.tensor([0.0, 2.0, 0.5, 2.0]))
    assert CRITERIA["gradient"].rank(evidence).tolist() == [1, 3, 2]


def test_template_tokens_are_all_of_them_unless_k_is_given():
    counts = torch.tensor([9, 5, 2, 9, 5, 0, 1])
    template = torch.tensor([True, True, False, True, False, False, True])
    evidence = Evidence(counts_V=counts, template_V=template)
    selection = select(CRITERIA["template"], evidence)
    assert selection.token_ids == [0, 3, 1, 6]
    assert selection.template == [True] * 4
    assert select(CRITERIA["template"], replace(evidence, k=2)).token_ids == [0, 3]
    with pytest.raises(TicketError, match="k=5, but only 4 rows are named"):
        select(CRITERIA["template"], replace(evidence, k=5))


def test_ks_without_the_template_is_the_ks_order_with_those_rows_left_out(tuned):
    order = CRITERIA["ks"].rank(tuned).tolist()
    template = torch.zeros(50, dtype=torch.bool)
    template[order[::2]] = True
    found = CRITERIA["ks_without_template"].rank(replace(tuned, template_V=template))
    assert found.tolist() == order[1::2]


def test_the_matched_control_is_as_frequent_as_the_ticket_and_shares_no_row_with_it(tuned):
    counts = torch.arange(100, 150)
    evidence = replace(tuned, counts_V=counts, k=6)
    ticket = CRITERIA["ks"].rank(evidence)[:6]
    found = CRITERIA["frequency_matched"].rank(evidence)
    assert len(set(found.tolist())) == 6
    assert not set(found.tolist()) & set(ticket.tolist())
    # three nearest unused neighbours, of which six may be taken: never far away
    gap = counts[found].double().sort().values - counts[ticket].double().sort().values
    assert gap.abs().mean() < 9
    other = CRITERIA["frequency_matched"].rank(replace(evidence, seed=1))
    assert other.tolist() != found.tolist()


def test_bos_and_the_published_ticket_are_refused_where_there_is_none():
    with pytest.raises(TicketError, match="no token that begins a text"):
        CRITERIA["bos"].rank(Evidence())
    with pytest.raises(TicketError, match="published no ticket for this tokenizer"):
        CRITERIA["published"].rank(Evidence())


def test_the_published_tickets_are_those_of_the_papers_table():
    assert {"-".join(pair): len(ids) for pair, ids in TICKETS.items()} == {
        "eng-cat": 18, "eng-spa": 18, "eng-ron": 15, "eng-dan": 12, "eng-deu": 15, "eng-por": 17,
    }  # fmt: skip
    shared = set.intersection(*map(set, TICKETS.values()))
    assert len(shared) == 10  # as the paper counts them


def test_llamas_tokenizer_is_known_by_its_size_and_three_pieces():
    pieces = {13: "<0x0A>", 29871: "▁", 29889: "."}
    assert is_llama_tokenizer(lambda ids: [pieces[one] for one in ids], 32_000)
    assert not is_llama_tokenizer(lambda ids: [pieces[one] for one in ids], 32_016)
    assert not is_llama_tokenizer(lambda ids: ["a" for _ in ids], 32_000)


def test_a_selection_says_what_a_test_would_reject(tuned):
    tuned = replace(tuned, after_VD=tuned.before_VD + 4 * (tuned.after_VD - tuned.before_VD))
    before, after = (matrix.numpy() for matrix in tuned.pair())
    p = np.array(
        [stats.ks_2samp(before[row], after[row], method="exact").pvalue for row in range(50)]
    )
    tests = select(CRITERIA["ks"], replace(tuned, k=3)).tests
    assert (tests.alpha, tests.rows, tests.moved) == (0.05, 50, 33)
    assert tests.below_alpha == int((p < 0.05).sum())
    # Benjamini and Hochberg by its own definition: the largest i with p_(i) <= alpha i / m
    ranked = np.sort(p)
    passed = [i for i in range(1, 51) if ranked[i - 1] <= 0.05 * i / 50]
    assert tests.benjamini_hochberg == max(passed)
    assert select(CRITERIA["ks"], tuned, alpha=0.01).tests.alpha == 0.01


def test_random_rows_of_a_weight_that_holds_no_tokens_come_from_all_of_them():
    order = CRITERIA["random"].rank(Evidence(before_VD=randn(9, 4)))
    assert sorted(order.tolist()) == list(range(9))
