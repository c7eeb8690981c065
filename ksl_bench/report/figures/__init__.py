"""Figures of a leaderboard: each only where the data for it exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ksl_bench.leaderboard import Board
from ksl_bench.registry import Registry
from ksl_bench.report.figures.directions import direction_maps
from ksl_bench.report.figures.figure import Figure
from ksl_bench.report.figures.gains import gain_splits
from ksl_bench.report.figures.losses import loss_curves
from ksl_bench.report.figures.scatter import scores_against_cost, scores_against_parameters
from ksl_bench.report.figures.sizes import scores_against_size
from ksl_bench.report.figures.tickets import ticket_maps
from ksl_bench.report.figures.transfer import transfer_matrices
from ksl_bench.store import Store

__all__ = ["FIGURES", "Figure", "draw_figures"]

FIGURES: Registry[Callable[[Board, Store], Iterator[Figure]]] = Registry(
    "figure",
    {
        "parameters": scores_against_parameters,
        "cost": scores_against_cost,
        "gains": gain_splits,
        "sizes": scores_against_size,
        "tickets": ticket_maps,
        "transfer": transfer_matrices,
        "directions": direction_maps,
        "losses": loss_curves,
    },
)
"""In the order of the report."""


def draw_figures(board: Board, store: Store) -> Iterator[Figure]:
    """Yield every figure that the board has the data for."""
    for draw in FIGURES.values():
        yield from draw(board, store)
