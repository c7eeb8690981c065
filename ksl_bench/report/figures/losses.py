"""How the losses fell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ksl_bench.leaderboard import Board
from ksl_bench.report.figures.canvas import Style, bare, draw, legend, printable, styles
from ksl_bench.report.figures.figure import Figure, anchor, conditions, titled
from ksl_bench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_WINDOW = 10
"""Steps of the running mean where curves are longer than `_LONG`."""
_LONG = 60
_CROWD = 10
"""Lines that one panel holds."""


def loss_curves(board: Board, store: Store) -> Iterator[Figure]:
    """Draw, a condition, the training losses of all baselines."""
    for condition in conditions(board):
        curves = _read(board, store, condition)
        if curves:
            yield _drawn(board, condition, curves)


def _read(board: Board, store: Store, condition: str) -> dict[str, Floats]:
    """Return by baseline the losses by seed and step, as long as the shortest seed's."""
    probes = {one["name"] for one in board.plan["suite"]["baselines"] if one.get("probe")}
    keys: dict[str, list[str]] = {}
    for row in board.plan["rows"]:
        here = row["condition"] == row["scored_under"] == condition
        if here and row["state"] is not None and row["baseline"] not in probes:
            keys.setdefault(row["baseline"], []).append(row["state"])
    found = {}
    for name, states in keys.items():
        losses = [one for one in (_losses(store, key) for key in states) if len(one) > 1]
        if losses:
            steps = min(map(len, losses))
            found[name] = np.array([one[:steps] for one in losses])
    return found


def _losses(store: Store, key: str) -> list[float]:
    by_step = {}
    for line in store.read_lines("state", key, "metrics.jsonl"):
        entry = json.loads(line)
        if entry["loss"] is not None:
            by_step[entry["step"]] = float(entry["loss"])
    return [by_step[step] for step in sorted(by_step)]


def _drawn(board: Board, condition: str, curves: dict[str, Floats]) -> Figure:
    smooth = max(one.shape[1] for one in curves.values()) > _LONG
    if smooth:
        curves = {name: _running_mean(one) for name, one in curves.items()}
    seeds = max(len(one) for one in curves.values())
    title = titled(board, "Training loss", condition)
    name = anchor("figure", "losses", condition)
    last = {baseline: float(one[:, -1].mean()) for baseline, one in curves.items()}
    least = min(last, key=lambda baseline: last[baseline])
    alternative = f"The lowest loss at the end is that of {least}, {last[least]:.3f}."
    caption = (
        f"Loss of a training batch by step (logarithmic), {seeds} seed{'' if seeds == 1 else 's'}. "
        + (
            "Line: mean over seeds; band: from the lowest to the highest seed. "
            if seeds > 1
            else ""
        )
        + (f"Smoothed: running mean over {_WINDOW} steps. " if smooth else "")
        + "No interval, and no sentence of the test: losses do not rank methods."
    )
    panels = _panels(board, list(curves))
    heights = [max(2.4, 0.17 * len(one)) for one in panels.values()]

    def paint(*all_axes: Axes) -> None:
        for axes, (heading, names) in zip(all_axes, panels.items(), strict=True):
            _panel(axes, {one: curves[one] for one in names}, styles(names))
            if len(panels) > 1:
                axes.set_title(printable(heading), fontsize=9, loc="left")
        all_axes[-1].set_xlabel("step")

    svg = draw(name, title, alternative, (7.0, sum(heights) + 0.8), paint, panels=heights)
    lines = tuple(
        (baseline, str(one.shape[1]), f"{one[:, 0].mean():.3f}", f"{one[:, -1].mean():.3f}")
        for baseline, one in curves.items()
    )
    columns = ("baseline", "steps", "loss at the start", "loss at the end")
    return Figure(name, title, svg, caption, alternative, columns, lines)


def _running_mean(losses_RT: Floats) -> Floats:
    """Return the mean over the last steps; over as many as there are at the start."""
    sums = np.cumsum(losses_RT, axis=1)
    sums[:, _WINDOW:] -= sums[:, :-_WINDOW].copy()
    return np.asarray(sums / np.minimum(np.arange(1, losses_RT.shape[1] + 1), _WINDOW))


def _panels(board: Board, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names that share a panel, by heading: one panel, or one a size of ticket."""
    if len(names) <= _CROWD:
        return {"": list(names)}
    sizes = {
        one["name"]: (one.get("ticket") or {}).get("k") for one in board.plan["suite"]["baselines"]
    }
    panels: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda one: sizes[one] or 0):
        heading = f"tickets of {sizes[name]} rows" if sizes[name] else "other"
        panels.setdefault(heading, []).append(name)
    return panels


def _panel(axes: Axes, curves: dict[str, Floats], known: dict[str, Style]) -> None:
    for name, losses in curves.items():
        style, steps = known[name], np.arange(1, losses.shape[1] + 1)
        if len(losses) > 1:
            low, high = losses.min(axis=0), losses.max(axis=0)
            axes.fill_between(steps, low, high, color=style.colour, alpha=0.12, linewidth=0)
        axes.plot(
            steps,
            losses.mean(axis=0),
            color=style.colour,
            linestyle=style.line,
            linewidth=1.2,
            marker=style.marker,
            markersize=4,
            markevery=max(1, len(steps) // 8),
            label=printable(name),
        )
    if all((one > 0).all() for one in curves.values()):
        _logarithmic(axes)
    axes.set_ylabel("loss")
    bare(axes)
    legend(axes)


def _logarithmic(axes: Axes) -> None:
    """Label 1, 2 and 5 of every decade, in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
