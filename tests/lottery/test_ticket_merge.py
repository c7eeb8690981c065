"""Tickets joined: rows add, values stay as they are or are decided by a named rule."""

from dataclasses import replace

import pytest
import torch

from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket import Ticket, TicketRow
from ksl_bench.lottery.ticket_merge import merge_tickets


@pytest.fixture
def filled(make_ticket):
    """Return a maker of tickets with values: `filled({7: 0.5})` has one row of three values 0.5."""

    def make(values, **fields):
        rows = [[value] * 3 for value in values.values()]
        ticket = make_ticket(list(values), values=torch.tensor(rows, dtype=torch.float32))
        measured = tuple(replace(row, D=0.5, p=0.25, l2=2.0, count=9) for row in ticket.rows)
        return replace(ticket, rows=measured, **fields)

    return make


def contents(ticket):
    return dict(zip(ticket.token_ids, ticket.row_values[:, 0].tolist(), strict=True))


def test_disjoint_rows_add_in_the_order_of_the_tickets(filled):
    merged = merge_tickets([("a", filled({7: 0.5, 2: 1.5})), ("b", filled({9: 2.5}))])
    assert merged.token_ids == [7, 2, 9]
    assert contents(merged) == {7: 0.5, 2: 1.5, 9: 2.5}
    assert (merged.criterion, merged.alpha, merged.k, merged.tests) == ("merged", None, 3, None)
    assert merged.rows[2] == TicketRow(9, "<9>", D=0.5, p=0.25, l2=2.0, count=9)
    assert Ticket.from_bytes(merged.to_bytes()).header() == merged.header()


def test_the_same_row_with_the_same_values_is_one_row(filled):
    merged = merge_tickets([("a", filled({7: 0.5, 2: 1.5})), ("b", filled({2: 1.5, 9: 2.5}))])
    assert contents(merged) == {7: 0.5, 2: 1.5, 9: 2.5}


def test_different_values_are_an_error_that_names_the_rows(filled):
    pair = [("a", filled({7: 0.5, 2: 1.5})), ("b", filled({2: 4.5, 7: 0.5}))]
    with pytest.raises(TicketError, match=r"^row 2 has different values in a and b; say which"):
        merge_tickets(pair)
    many = [
        ("a", filled(dict.fromkeys(range(13), 1.0))),
        ("b", filled(dict.fromkeys(range(13), 2.0))),
    ]
    with pytest.raises(TicketError, match=r"^rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more have"):
        merge_tickets(many)


@pytest.mark.parametrize(("rule", "value"), [("mean", 3.0), ("first", 1.5), ("last", 4.5)])
def test_a_rule_decides_of_different_values(filled, rule, value):
    tickets = [
        ("a", filled({7: 0.5, 2: 1.5})),
        ("b", filled({2: 3.0})),
        ("c", filled({2: 4.5})),
    ]
    merged = merge_tickets(tickets, on_conflict=rule)
    assert contents(merged) == {7: 0.5, 2: value}
    # nobody measured the mean of three tunings
    assert (merged.rows[1].D is None) == (rule == "mean")
    assert merged.rows[1].count == 9


def test_a_source_state_stays_where_it_is_one(filled):
    one, two = filled({1: 1.0}, source_state="s"), filled({2: 1.0}, source_state="s")
    assert merge_tickets([("a", one), ("b", two)]).source_state == "s"
    other = filled({2: 1.0}, source_state="t")
    assert merge_tickets([("a", one), ("b", other)]).source_state is None


def test_a_tokenizer_known_to_one_is_the_merged_tickets(filled):
    known = filled({2: 1.0}, tokenizer_digest="1" * 64)
    assert merge_tickets([("a", filled({1: 1.0})), ("b", known)]).tokenizer_digest == "1" * 64


def test_tickets_that_only_name_rows_merge_without_values(make_ticket):
    merged = merge_tickets([("a", make_ticket([1, 2])), ("b", make_ticket([2, 3]))])
    assert (merged.token_ids, merged.values, merged.row_values) == ([1, 2, 3], "none", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_digest": "1" * 64}, "tickets of different matrices: a is for the input_embedding"),
        ({"tensor": "output_head"}, "b for the output_head of 'tiny'"),
        ({"values": "trained"}, "a has values: transferred, b has values: trained"),
        ({"values": "none", "row_values": None}, "b has values: none"),
        ({"row_values": torch.zeros(1, 4)}, "a has rows of 3 values, b of 4"),
    ],
)
def test_what_does_not_belong_together_is_refused(filled, change, said):
    other = replace(filled({2: 1.0}), **change)
    with pytest.raises(TicketError, match=said):
        merge_tickets([("a", filled({1: 1.0})), ("b", other)])


def test_one_ticket_is_no_merge(filled):
    with pytest.raises(TicketError, match="at least two tickets, got 1"):
        merge_tickets([("a", filled({1: 1.0}))])
