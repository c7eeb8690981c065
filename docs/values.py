"""Numbers of stored boards in the middle of a sentence.

    <!-- value: SUITE CONDITION ROWS PATH FORM -->58.7 [53.0, 64.4]<!-- end -->

CONDITION is where a row was scored, or `TUNED>SCORED`; ROWS are baselines joined by commas, or `tickets` for
all partial tuning; PATH leads into a row of `ksl-bench leaderboard SUITE --format json`; FORM is one of
`FORMS`. No line may begin with a comment: Markdown would take the whole line as HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

VALUE = re.compile(r"(<!-- value: (.*?) -->).*?(<!-- end -->)", re.S)

Row = dict[str, Any]


def named(rows: Sequence[Row], condition: str, names: str) -> list[Row]:
    """Return the rows that a value is of, in the order of the board."""
    tuned, _, scored = condition.partition(">")
    here = [
        row for row in rows if (row["condition"], row["scored_under"]) == (tuned, scored or tuned)
    ]
    if names == "tickets":
        return [row for row in here if row["method"] == "partial_tuning" and row["probe"] is None]
    found = {row["baseline"]: row for row in here}
    return [found[name] for name in names.split(",")]


def interval(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return a mean with its interval."""
    (one,) = numbers
    return f"{one['value']:.1f} [{one['low']:.1f}, {one['high']:.1f}]"


def mean(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return a mean."""
    (one,) = numbers
    return f"{one['value']:.1f}"


def whole(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return a mean without decimals."""
    (one,) = numbers
    return f"{one['value']:.0f}"


def wall_seconds(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return seconds of one run, whole."""
    (one,) = numbers
    return f"{one:.0f} s"


def percent(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return a share in per cent."""
    (one,) = numbers
    return f"{100 * one:.0f} %"


def span(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return the lowest and the highest of some means."""
    means = [one["value"] for one in numbers]
    return f"{min(means):.1f} to {max(means):.1f}"


def highest(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return the highest of some means."""
    return f"{max(one['value'] for one in numbers):.1f}"


def seeds(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return the score under every seed, whole."""
    (one,) = numbers
    *first, last = (f"{score:.0f}" for score in one["by_seed"].values())
    return f"{', '.join(first)} and {last}"


def seed_span(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return the lowest and the highest score over seeds, whole."""
    (one,) = numbers
    scores = one["by_seed"].values()
    return f"{min(scores):.0f} to {max(scores):.0f}"


def _clear(rows: Sequence[Row], numbers: Sequence[Any]) -> list[tuple[Row, Any]]:
    return [(row, one) for row, one in zip(rows, numbers, strict=True) if one["low"] > 0]


def clear(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return how many of some gains have intervals above 0."""
    return f"{len(_clear(rows, numbers))} of {len(numbers)}"


def clear_names(rows: Sequence[Row], numbers: Sequence[Any]) -> str:
    """Return which of some gains have intervals above 0, with these."""
    told = (f"`{row['baseline']}` {interval([row], [one])}" for row, one in _clear(rows, numbers))
    return ", ".join(told)


FORMS: dict[str, Callable[[Sequence[Row], Sequence[Any]], str]] = {
    one.__name__: one
    for one in (
        interval,
        mean,
        whole,
        wall_seconds,
        percent,
        span,
        highest,
        seeds,
        seed_span,
        clear,
        clear_names,
    )
}


def told(rows: Sequence[Row], condition: str, names: str, path: str, form: str) -> str:
    """Return one value as text."""
    chosen = named(rows, condition, names)
    numbers = [reduce(lambda at, name: at[name], path.split("."), row) for row in chosen]
    return FORMS[form](chosen, numbers)
