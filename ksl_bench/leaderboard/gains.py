"""What a row gained over the base, and how much of that is learning to stop.

Differences are paired: the same seeds where both have them, the same sentences always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ksl_bench.leaderboard.comparable import Terms, apart
from ksl_bench.significance.intervals import Difference, Interval, differences
from ksl_bench.significance.resampling import System
from ksl_bench.tasks.readings import READINGS, Readings

Row = dict[str, Any]
Systems = Mapping[tuple[str, str], System]
"""By rule and metric."""


def headline(row: Mapping[str, Any]) -> str:
    """Return the metric that stands for a row: the first that the suite names."""
    return str(next(iter(next(iter(row["scores"].values())))))


def readings_of(row: Mapping[str, Any]) -> Readings:
    """Return how the outputs of a row's task are read."""
    return READINGS[row.get("task", "translation")]  # boards of earlier versions know one task


def shown_rules(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the two rules of a row that stand side by side: the plain one, and the one for the content."""
    readings = readings_of(row)
    return readings.plain, readings.content


def is_base(row: Mapping[str, Any]) -> bool:
    """Tell whether a row is the base model as it is, asked as all others are."""
    return row["method"] == "none" and not row.get("statistic") and not row.get("vote")


def told(interval: Interval) -> Row:
    """Return an interval as JSON has it."""
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "standard_error": interval.standard_error,
        "degrees_of_freedom": interval.degrees_of_freedom,
        "speaks_of": interval.speaks_of,
    }


def told_difference(found: Difference) -> Row:
    """Return a difference as JSON has it."""
    return {**told(found.interval), "p_value": found.p_value, "paired_seeds": list(found.seeds)}


def add_gains(
    rows: Sequence[Row],
    systems: Sequence[Systems | None],
    terms: Sequence[Terms | None],
    *,
    margin: float,
) -> None:
    """Add `gains`, `termination` and `termination_share` to the rows that were scored under one condition.

    A row that was not computed and scored as the base was has none, and `no_gains` says why.

    Args:
        rows: All scored under the same condition.
        systems: Of each row; None where it has no score.
        terms: Of each row, what must be alike for a comparison; None where it has no score.
        margin: Of a gain that is not shown to be larger there is no share: it would be of nothing.
    """
    for row in rows:
        row["gains"] = row["no_gains"] = row["termination"] = row["termination_share"] = None
    known = [
        (row, own, its)
        for row, own, its in zip(rows, systems, terms, strict=True)
        if own is not None and its is not None
    ]
    found = next(((own, its) for row, own, its in known if is_base(row)), None)
    if found is None:
        return
    base, alike = found
    for row, _, its in known:
        row["no_gains"] = apart(its, alike)
    gaining = [(row, own) for row, own, _ in known if not is_base(row) and row["no_gains"] is None]
    # All at once: that is much faster than row by row.
    pairs = [(own[name], base[name]) for _, own in gaining for name in own]
    gains = iter(differences(pairs, guarded=False))
    for row, own in gaining:
        row["gains"] = {}
        for rule, metric in own:
            row["gains"].setdefault(rule, {})[metric] = told_difference(next(gains))
    stopping = [(row, own) for row, own in gaining if tells_form(row)]
    forms = differences(
        [(_form(row, own), _form(row, base)) for row, own in stopping], guarded=False
    )
    for (row, _), form in zip(stopping, forms, strict=True):
        row["termination"] = told_difference(form)
        raw = row["gains"][shown_rules(row)[0]][headline(row)]
        if raw["low"] > margin:
            row["termination_share"] = form.interval.value / raw["value"]


def tells_form(row: Row) -> bool:
    """Tell whether a row's task has a form to learn, such as stopping, and both rules that tell it apart."""
    return bool(readings_of(row).form) and set(shown_rules(row)) <= row["scores"].keys()


def _form(row: Row, systems: Systems) -> System:
    """Return what the plain rule scores more than the content: less than 0 where a model does not stop."""
    one, two = (systems[rule, headline(row)] for rule in shown_rules(row))
    return System(
        one.seeds,
        one.scores_R - two.scores_R,
        one.resampled_BR - two.resampled_BR,
        one.draw,
    )


def is_clear(difference: Mapping[str, Any]) -> bool:
    """Tell whether the interval of a difference excludes 0."""
    return bool(difference["low"] > 0 or difference["high"] < 0)


def add_recovery(rows: Sequence[Row], *, margin: float) -> None:
    """Add `recovery`: what share of another row's gain a probe or a transfer keeps; None elsewhere.

    Args:
        rows: Of all conditions, with their gains.
        margin: As of `add_gains`.
    """
    home = {
        (row["baseline"], row["condition"]): row
        for row in rows
        if row["scored_under"] == row["condition"]
    }
    for row in rows:
        row["recovery"] = _recovery(row, _whole(row, home), margin)


def _whole(row: Row, home: Mapping[tuple[str, str], Row]) -> Row | None:
    """Return the row whose gain a probe, a transfer, a merge or a step of a sequence keeps a share of."""
    if row["probe"] is not None:
        return home.get((row["probe"]["of"], row["condition"]))
    if row.get("merge") is not None:
        return home.get((row["merge"]["of"], row["scored_under"]))
    if row["scored_under"] != row["condition"]:
        return home.get((row["baseline"], row["scored_under"]))
    return None


def _recovery(row: Row, whole: Row | None, margin: float) -> Row | None:
    """Return what share of another row's gain this one keeps, by rule; None where that may be little."""
    if whole is None or whole["gains"] is None or row["gains"] is None:
        return None
    metric = headline(row)
    shares: Row = {}
    for rule, gains in row["gains"].items():
        gain = whole["gains"][rule][metric]
        shares[rule] = gains[metric]["value"] / gain["value"] if gain["low"] > margin else None
    return {"of": f"{whole['baseline']} under {whole['condition']}", **shares}
