"""Tickets as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from ksl_bench.lottery.ticket import Ticket, TicketRow
from ksl_bench.lottery.ticket_compare import Comparison, Named, Overlap
from ksl_bench.lottery.ticket_merge import MERGED

VALUES = {
    "none": "none: it only names rows",
    "transferred": "transferred: the rows of the tuned matrix",
    "trained": "trained: the rows as they were tuned for this ticket",
}


def facts(ticket: Ticket) -> Table:
    """Return where a ticket comes from, a line a fact."""
    base = ticket.base_model + (f" at {ticket.revision}" if ticket.revision else "")
    lines = {
        "base": f"{base}, {ticket.tensor} (digest {ticket.base_digest[:12]})",
        "criterion": ticket.criterion,
        "k": str(ticket.k),
        "alpha": "not used" if ticket.alpha is None else f"{ticket.alpha:g}",
        "source state": ticket.source_state or "none",
        "values": VALUES[ticket.values],
        "file": f"{len(ticket.to_bytes()):,} bytes",
    }
    if ticket.tests is not None:
        tests = ticket.tests
        lines["tests"] = (
            f"of {tests.rows:,} rows {tests.moved:,} moved; {tests.below_alpha:,} have "
            f"p < {tests.alpha:g}, {tests.benjamini_hochberg:,} after Benjamini-Hochberg"
        )
    table = Table(box=None, show_header=False)
    for name, value in lines.items():
        table.add_row(name, escape(value))
    return table


def rows_table(ticket: Ticket) -> Table:
    """Return the rows of a ticket, best first; without the columns that are not known of any row."""
    columns = {
        "D": [_number(row.D, ".4f") for row in ticket.rows],
        "p": [_number(row.p, ".3g") for row in ticket.rows],
        "l2": [_number(row.l2, ".4g") for row in ticket.rows],
        "count": [_number(row.count, ",") for row in ticket.rows],
        "template": [_yes(row) for row in ticket.rows],
    }
    known = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table()
    # A merged ticket's rows stand in no order of merit.
    table.add_column("" if ticket.criterion == MERGED else "rank", justify="right")
    table.add_column("id", justify="right")
    table.add_column("token", overflow="fold")
    for name in known:
        table.add_column(name, justify="right")
    for place, row in enumerate(ticket.rows):
        cells = (column[place] for column in known.values())
        table.add_row(str(place + 1), str(row.token_id), escape(repr(row.token)), *cells)
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _yes(row: TicketRow) -> str:
    return "" if row.template is None else "yes" if row.template else "no"


def comparison_tables(tickets: Sequence[Named], found: Sequence[Comparison]) -> list[Table]:
    """Return what the tickets are, their overlaps, and the agreement of their order."""
    pairs = [f"{one}-{two}" for one, two in _numbers(len(tickets))]
    return [
        _legend(tickets),
        _overlaps(pairs, found),
        _correlations(pairs, found),
    ]


def _numbers(tickets: int) -> list[tuple[int, int]]:
    """Return the pairs as `combinations` orders them, counted from 1."""
    return [(one, two) for one in range(1, tickets + 1) for two in range(one + 1, tickets + 1)]


def _legend(tickets: Sequence[Named]) -> Table:
    table = Table(box=None, show_header=False)
    for number, (name, ticket) in enumerate(tickets, 1):
        table.add_row(str(number), escape(name), escape(ticket.criterion), f"k={ticket.k}")
    return table


def _overlaps(pairs: Sequence[str], found: Sequence[Comparison]) -> Table:
    table = Table(title="Overlap of the first k rows", title_justify="left")
    with_ceiling = any(
        overlap.seed_ceiling is not None for one in found for overlap in one.overlaps
    )
    names = ["tickets", "k", "shared", "Jaccard"]
    for name in [*names, "seed ceiling", "of ceiling"] if with_ceiling else names:
        table.add_column(name, justify="left" if name == "tickets" else "right")
    for pair, one in zip(pairs, found, strict=True):
        for overlap in one.overlaps:
            cells = [str(overlap.k), str(overlap.shared), f"{overlap.jaccard:.2f}"]
            table.add_row(pair, *cells, *(_ceiling(overlap) if with_ceiling else ()))
    return table


def _ceiling(overlap: Overlap) -> tuple[str, str]:
    share = overlap.of_ceiling
    return _number(overlap.seed_ceiling, ".1f"), "" if share is None else f"{100 * share:.0f} %"


def _correlations(pairs: Sequence[str], found: Sequence[Comparison]) -> Table:
    table = Table(title="Order of the rows in both, and over the vocabulary", title_justify="left")
    for name in ("tickets", "rows in both", "Spearman", "Kendall", "vocabulary"):
        table.add_column(name, justify="left" if name == "tickets" else "right")
    for pair, one in zip(pairs, found, strict=True):
        found_of_pair = (one.spearman, one.kendall, one.vocabulary_spearman)
        cells = (_number(value, ".3f") or "-" for value in found_of_pair)
        table.add_row(pair, str(one.rows_in_both), *cells)
    return table
