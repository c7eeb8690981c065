"""What a row gained over the base, and how much of that is learning to stop.

Intervals here speak of both sources of chance that a row shows: the sentences (the mean of the seeds'
bootstrap intervals, the base's with them) and the seeds (t quantile times the standard error over seeds),
joined as independent variances. The pairing of sentences is not used, so they are wider than need be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from scipy import stats

Row = dict[str, Any]


def headline(row: Mapping[str, Any]) -> str:
    """Return the metric that stands for a row: the first that the suite names."""
    return str(next(iter(row["scores"]["raw"])))


def add_gains(rows: Sequence[Row]) -> None:
    """Add `gains`, `termination_share` and `recovery` to every row; None where they mean nothing."""
    bases = {
        row["scored_under"]: row
        for row in rows
        if row["method"] == "none" and row["scores"] is not None
    }
    for row in rows:
        base = bases.get(row["scored_under"])
        known = base is not None and row["scores"] is not None and row["method"] != "none"
        row["gains"] = _gains(row, base) if known and base is not None else None
        row["termination_share"] = _termination_share(row)
    home = {
        (row["baseline"], row["condition"]): row
        for row in rows
        if row["scored_under"] == row["condition"]
    }
    for row in rows:
        row["recovery"] = _recovery(row, _whole(row, home))


def _gains(row: Row, base: Row) -> dict[str, dict[str, dict[str, float]]]:
    """Return by rule and metric what the row has more than the base, with its interval."""
    return {
        rule: {
            metric: _gain(score, base["scores"][rule][metric]) for metric, score in metrics.items()
        }
        for rule, metrics in row["scores"].items()
    }


def _gain(score: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, float]:
    value = score["value"] - base["value"]
    half = math.hypot(_half(score), _half(base), _seed_half(list(score["by_seed"].values())))
    return {"value": value, "low": value - half, "high": value + half}


def _half(score: Mapping[str, Any]) -> float:
    return float(score["high"] - score["low"]) / 2


def _seed_half(values: Sequence[float]) -> float:
    """Return half the width of the 95 % interval of a mean over seeds; 0 where there is one seed."""
    if len(values) < 2:
        return 0.0
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    return quantile * stdev(values) / math.sqrt(len(values))


def _clear(gain: Mapping[str, float]) -> bool:
    """Tell whether the interval of a gain excludes 0."""
    return gain["low"] > 0 or gain["high"] < 0


def _termination_share(row: Row) -> float | None:
    """Return 1 - gain(first line) / gain(raw), never clipped; None where the raw gain may be 0."""
    if row["gains"] is None:
        return None
    metric = headline(row)
    raw = row["gains"]["raw"][metric]
    if not _clear(raw):
        return None
    return 1.0 - float(row["gains"]["first_line"][metric]["value"]) / float(raw["value"])


def _whole(row: Row, home: Mapping[tuple[str, str], Row]) -> Row | None:
    """Return the row whose gain a probe or a transfer keeps a share of."""
    if row["probe"] is not None:
        return home.get((row["probe"]["of"], row["condition"]))
    if row["scored_under"] != row["condition"]:
        return home.get((row["baseline"], row["scored_under"]))
    return None


def _recovery(row: Row, whole: Row | None) -> Row | None:
    """Return what share of another row's gain this one keeps, by rule; None where that may be 0."""
    if whole is None or whole["gains"] is None or row["gains"] is None:
        return None
    metric = headline(row)
    shares: Row = {}
    for rule, gains in row["gains"].items():
        gain = whole["gains"][rule][metric]
        shares[rule] = gains[metric]["value"] / gain["value"] if _clear(gain) else None
    return {"of": f"{whole['baseline']} under {whole['condition']}", **shares}
