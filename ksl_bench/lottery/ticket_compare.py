"""How much tickets have in common: overlap of their first rows, and agreement of their order.

An overlap means little by itself: tickets of the same tuning under another seed do not agree fully either.
Their mean overlap, the seed ceiling, is the most that another cause of difference can be held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats

from ksl_bench.errors import TicketError
from ksl_bench.lottery.stability import overlap, rank_correlation
from ksl_bench.lottery.ticket import Ticket

Named = tuple[str, Ticket]
"""A ticket and what messages call it, such as its file."""

SIZES = (4, 18, 64)
"""The k at which tickets are compared by default, beside all rows of the smaller one."""

FEWEST_RANKED = 3
"""Rows in both tickets below which a rank correlation says nothing: of two it is always 1 or -1."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the first k rows of two tickets share."""

    k: int
    shared: int
    jaccard: float
    """Shared rows over the rows in either, in [0, 1]."""
    seed_ceiling: float | None
    """Mean of `shared` between tickets that differ in seed alone; None where there are none of this size."""
    of_ceiling: float | None
    """`shared` over the ceiling; above 1 where a pair agrees more than seeds do on average."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two tickets, side by side."""

    first: str
    second: str
    overlaps: tuple[Overlap, ...]
    rows_in_both: int
    spearman: float | None
    """Correlation of the order of the rows in both; None where these are fewer than three."""
    kendall: float | None
    vocabulary_spearman: float | None
    """Over the vocabulary, as far as the tickets know it: rows that one leaves out share its last rank."""


def compare_tickets(
    tickets: Sequence[Named], *, sizes: Sequence[int] = (), seeds: Sequence[Named] = ()
) -> list[Comparison]:
    """Compare every two tickets.

    Args:
        tickets: At least two, of the same matrix.
        sizes: Each k at which first rows are compared; by default `SIZES` as far as the smaller ticket of
            a pair goes, and all its rows.
        seeds: None, or at least two tickets that differ in seed alone, for the ceiling.

    Raises:
        TicketError: If there are too few tickets, they are of different matrices, or one is smaller than a
            given k.
    """
    _check(tickets, sizes, seeds)
    return [_pair(one, two, sizes, seeds) for one, two in combinations(tickets, 2)]


def _check(tickets: Sequence[Named], sizes: Sequence[int], seeds: Sequence[Named]) -> None:
    if len(tickets) < 2:
        raise TicketError(f"a comparison needs at least two tickets, got {len(tickets)}")
    if len(seeds) == 1 or len({name for name, _ in seeds}) < len(seeds):
        raise TicketError(
            "seeds: the ceiling needs at least two different tickets, got "
            + ", ".join(name for name, _ in seeds)
        )
    check_same_matrix([*tickets, *seeds])
    for name, ticket in seeds:
        if ticket.criterion != seeds[0][1].criterion:
            raise TicketError(
                f"seeds: tickets must differ in seed alone, but {seeds[0][0]} is a "
                f"{seeds[0][1].criterion!r} ticket and {name} a {ticket.criterion!r} ticket"
            )
    short = [
        f"k: must be <= {ticket.k} (the rows of {name}), got {k}"
        for k in sizes
        for name, ticket in tickets
        if k > ticket.k
    ]
    if short:
        raise TicketError(short)


def check_same_matrix(tickets: Sequence[Named]) -> None:
    """Check that tickets name rows of one matrix under one tokenizer.

    Raises:
        TicketError: If not; names two that differ.
    """
    for one, two in combinations(tickets, 2):
        for attribute in ("tensor", "base_digest", "tokenizer_digest"):
            _check_same(one, two, attribute)


def _check_same(one: Named, two: Named, attribute: str) -> None:
    first, second = (getattr(ticket, attribute) for _, ticket in (one, two))
    # The digest of a tokenizer is None where it was not known.
    if first == second or None in (first, second):
        return
    raise TicketError(
        f"tickets of different matrices: {one[0]} is for {_matrix(one[1], attribute)}, "
        f"{two[0]} for {_matrix(two[1], attribute)}"
    )


def _matrix(ticket: Ticket, attribute: str) -> str:
    base = f"{ticket.base_model!r}" + (f" at {ticket.revision}" if ticket.revision else "")
    if attribute == "tokenizer_digest":
        return f"the tokenizer of {base} (digest {str(ticket.tokenizer_digest)[:12]})"
    return f"the {ticket.tensor} of {base} (digest {ticket.base_digest[:12]})"


def _pair(one: Named, two: Named, sizes: Sequence[int], seeds: Sequence[Named]) -> Comparison:
    first, second = one[1].token_ids, two[1].token_ids
    smaller = min(len(first), len(second))
    wanted = sorted({*(sizes or [k for k in SIZES if k < smaller] + [smaller])})
    in_both = sorted(set(first) & set(second))
    spearman = kendall = None
    if len(in_both) >= FEWEST_RANKED:
        places, others = _places(first, in_both), _places(second, in_both)
        spearman = float(stats.spearmanr(places, others).statistic)
        kendall = float(stats.kendalltau(places, others).statistic)
    overlaps = tuple(_overlap(first, second, k, seed_ceiling(seeds, k)) for k in wanted)
    whole = rank_correlation(first, second, rows=max(*first, *second) + 1)
    return Comparison(one[0], two[0], overlaps, len(in_both), spearman, kendall, whole)


def _places(ids: Sequence[int], wanted: Sequence[int]) -> list[int]:
    place = {row: number for number, row in enumerate(ids)}
    return [place[row] for row in wanted]


def _overlap(first: Sequence[int], second: Sequence[int], k: int, ceiling: float | None) -> Overlap:
    shared = overlap(first, second, k)
    of_ceiling = shared / ceiling if ceiling else None
    return Overlap(k, shared, shared / (2 * k - shared), ceiling, of_ceiling)


def seed_ceiling(seeds: Sequence[Named], k: int) -> float | None:
    """Return the mean number of shared rows of every two tickets among their first k.

    Args:
        seeds: Tickets that differ in seed alone.
        k: How many rows of each.

    Returns:
        In [0, k]; None where there are no two tickets, or one has fewer rows.
    """
    if len(seeds) < 2 or any(ticket.k < k for _, ticket in seeds):
        return None
    shared = [
        overlap(one.token_ids, two.token_ids, k) for (_, one), (_, two) in combinations(seeds, 2)
    ]
    return sum(shared) / len(shared)
