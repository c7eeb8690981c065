"""Which tokens tickets picked, and how early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import mean
from typing import TYPE_CHECKING

from ksl_bench.leaderboard import Board
from ksl_bench.report.figures.canvas import draw
from ksl_bench.report.figures.figure import Figure, anchor
from ksl_bench.report.figures.grids import Cell, paint_grid
from ksl_bench.report.tokens import Token, shown_tokens
from ksl_bench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40
"""Tokens shown."""
_WIDE = 70
"""Letters of all column heads above which they are tilted."""

Picks = dict[Token, list[int]]
"""Ranks that a token has in the tickets of a column, one a seed that picked it; 1 is the best."""


class Column:
    """The tickets of one criterion under one condition, one a seed."""

    def __init__(self, criterion: str, condition: str) -> None:
        """Begin with no ticket."""
        self.criterion, self.condition = criterion, condition
        self.keys: set[str] = set()
        self.picks: Picks = {}

    def add(self, key: str, tokens: list[Token]) -> None:
        """Add a ticket, once, however many rows share it."""
        if key not in self.keys:
            self.keys.add(key)
            for rank, token in enumerate(tokens, start=1):
                self.picks.setdefault(token, []).append(rank)


def ticket_maps(board: Board, store: Store) -> Iterator[Figure]:
    """Draw the tickets of the size that most columns have; controls too where KS alone is one column."""
    sizes = _columns(board, store)
    if not sizes:
        return
    k = max(sizes, key=lambda size: (len(sizes[size]), size <= MOST, size))
    columns = [one for one in sizes[k] if one.criterion != "random"]  # by chance: nothing to see
    ks = [one for one in columns if one.criterion.startswith("ks")]
    shown = ks if len({one.condition for one in ks}) > 1 else columns
    if len(shown) > 1:
        yield _map(board, k, shown)


def _columns(board: Board, store: Store) -> dict[int, list[Column]]:
    found: dict[int, dict[tuple[str, str], Column]] = {}
    seen: dict[str, tuple[str, list[Token]] | None] = {}
    for row in board.plan["rows"]:
        key = row["ticket"]
        if key is None or row["condition"] != row["scored_under"]:
            continue
        if key not in seen:
            seen[key] = _read(store, key)
        ticket = seen[key]
        if ticket is not None:
            criterion, tokens = ticket
            place = (criterion, row["condition"])
            here = found.setdefault(len(tokens), {})
            here.setdefault(place, Column(*place)).add(key, tokens)
    return {size: list(columns.values()) for size, columns in found.items()}


def _read(store: Store, key: str) -> tuple[str, list[Token]] | None:
    record = store.record("ticket", key)
    if record is None or record["status"] != "finished" or "rows" not in record["ticket"]:
        return None  # not there, or a mask of entries
    ticket = record["ticket"]
    return ticket["criterion"], [(row["token_id"], row["token"]) for row in ticket["rows"]]


def _map(board: Board, k: int, columns: list[Column]) -> Figure:
    tokens = _most_picked(columns)
    several = len({one.condition for one in columns}) > 1
    names = [f"{one.criterion}, {one.condition}" if several else one.criterion for one in columns]
    seeds = max(len(one.keys) for one in columns)
    total = len({token for one in columns for token in one.picks})
    everywhere = sum(all(token in one.picks for one in columns) for token in tokens)
    title = f"Which tokens the tickets of {k} rows pick"
    name = anchor("figure", "tickets", str(k))
    alternative = (
        f"{total} tokens are picked in {len(columns)} columns; "
        f"{everywhere} of those shown are in every one."
    )
    said = (
        "Colour: mean rank over the seeds that picked it; number: how many seeds did"
        if seeds > 1
        else "Colour and number: rank in the ticket"
    )
    limit = f" The {MOST} picked most often of {total}." if total > MOST else ""
    caption = f"Tickets of {k} rows, {seeds} seed{'' if seeds == 1 else 's'}. {said}; 1 is the best.{limit}"
    labels = shown_tokens(tokens)
    cells = [[_cell(one.picks, token, seeds) for one in columns] for token in tokens]

    def paint(axes: Axes) -> None:
        tilted = max(map(len, names)) * len(names) > _WIDE
        paint_grid(axes, labels, names, cells, tilted=tilted)
        axes.xaxis.tick_top()

    size = (max(4.0, 1.6 + 0.95 * len(columns)), 1.0 + 0.23 * len(tokens))
    svg = draw(name, title, alternative, size, paint)
    lines = tuple(
        (label, str(token[0]), *(_told(one.picks.get(token)) for one in columns))
        for label, token in zip(labels, tokens, strict=True)
    )
    heads = ("token", "id", *names)
    return Figure(name, title, svg, caption, alternative, heads, lines)


def _most_picked(columns: list[Column]) -> list[Token]:
    """Return the tokens picked most often, the better ranked first among equals; shown in that order."""
    counts: Counter[Token] = Counter()
    ranks: dict[Token, list[int]] = {}
    for column in columns:
        for token, places in column.picks.items():
            counts[token] += len(places)
            ranks.setdefault(token, []).extend(places)
    order = sorted(counts, key=lambda token: (-counts[token], mean(ranks[token]), token))
    return order[:MOST]


def _cell(picks: Mapping[Token, list[int]], token: Token, seeds: int) -> Cell:
    ranks = picks.get(token)
    if not ranks:
        return None
    # Negative, so that what is picked first is lightest.
    return -mean(ranks), str(len(ranks)) if seeds > 1 else str(ranks[0])


def _told(ranks: list[int] | None) -> str:
    return "" if not ranks else ", ".join(map(str, ranks))
