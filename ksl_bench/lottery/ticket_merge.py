"""One ticket of several: their rows together.

A merged ticket is no ranking any more: its rows stand in the order of the tickets, and in each in its own.
What a row says of itself (D, p, l2, count) is what the ticket says that it was taken from.

Shapes: D values a row, K rows of the merged ticket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket import Ticket, TicketRow
from ksl_bench.lottery.ticket_compare import Named, check_same_matrix

MERGED = "merged"
"""What a merged ticket has for a criterion."""

Rule = Literal["mean", "first", "last"]
"""Of a row with different values: their mean, or those of the first or the last ticket that has it."""

NAMED_ROWS = 10
"""Rows that a message names before it only counts."""

Found = tuple[str, TicketRow, Tensor | None]
"""A row in one of the tickets: that ticket's name, the row, its values of shape (D,)."""


def merge_tickets(tickets: Sequence[Named], *, on_conflict: Rule | None = None) -> Ticket:
    """Join tickets of one matrix.

    Args:
        tickets: At least two, whose values are of one kind.
        on_conflict: What becomes of a row that has different values in two tickets; an error by default.

    Returns:
        A ticket with criterion `merged`, no alpha and no tests, since it was found by neither. Its source
        state is the tickets' own where they share it. A row that is a mean has no D, p and l2: the mean was
        tuned by nothing.

    Raises:
        TicketError: If the tickets are of different matrices or kinds of values, or disagree about a row.
    """
    _check(tickets)
    found = _by_row(tickets)
    conflicts = [row for row, ones in found.items() if _differ(ones)]
    if conflicts and on_conflict is None:
        raise TicketError(_disagreement(conflicts, found))
    chosen = [_chosen(ones, on_conflict) for ones in found.values()]
    first = tickets[0][1]
    states = {ticket.source_state for _, ticket in tickets}
    tokenizers = [ticket.tokenizer_digest for _, ticket in tickets if ticket.tokenizer_digest]
    values = [row_values for _, row_values in chosen if row_values is not None]
    return replace(
        first,
        tokenizer_digest=tokenizers[0] if tokenizers else None,
        criterion=MERGED,
        alpha=None,
        k=len(chosen),
        source_state=first.source_state if len(states) == 1 else None,
        rows=tuple(row for row, _ in chosen),
        tests=None,
        row_values=torch.stack(values) if values else None,
    )


def _check(tickets: Sequence[Named]) -> None:
    if len(tickets) < 2:
        raise TicketError(f"a merge needs at least two tickets, got {len(tickets)}")
    check_same_matrix(tickets)
    first_name, first = tickets[0]
    for name, ticket in tickets:
        if ticket.values != first.values:
            raise TicketError(
                f"tickets with different kinds of values: {first_name} has values: {first.values}, "
                f"{name} has values: {ticket.values}"
            )
        widths = [one.row_values.shape[1] for one in (first, ticket) if one.row_values is not None]
        if len(set(widths)) > 1:
            raise TicketError(
                f"tickets of different width: {first_name} has rows of {widths[0]} values, "
                f"{name} of {widths[1]}"
            )


def _by_row(tickets: Sequence[Named]) -> dict[int, list[Found]]:
    found: dict[int, list[Found]] = {}
    for name, ticket in tickets:
        for place, row in enumerate(ticket.rows):
            values = None if ticket.row_values is None else ticket.row_values[place]
            found.setdefault(row.token_id, []).append((name, row, values))
    return found


def _differ(ones: Sequence[Found]) -> bool:
    first = ones[0][2]
    return first is not None and any(
        not torch.equal(first, values) for _, _, values in ones if values is not None
    )


def _chosen(ones: Sequence[Found], rule: Rule | None) -> tuple[TicketRow, Tensor | None]:
    _, row, values = ones[-1 if rule == "last" else 0]
    if rule == "mean" and _differ(ones):
        every = torch.stack([one for _, _, one in ones if one is not None])
        return replace(row, D=None, p=None, l2=None), every.double().mean(0).float()
    return row, values


def _disagreement(conflicts: Sequence[int], found: dict[int, list[Found]]) -> str:
    named = ", ".join(str(row) for row in conflicts[:NAMED_ROWS])
    more = f" and {len(conflicts) - NAMED_ROWS} more" if len(conflicts) > NAMED_ROWS else ""
    holders = " and ".join(dict.fromkeys(name for row in conflicts for name, _, _ in found[row]))
    rows, verb = ("rows", "have") if len(conflicts) > 1 else ("row", "has")
    return (
        f"{rows} {named}{more} {verb} different values in {holders}; "
        "say which to take: mean, first or last"
    )
