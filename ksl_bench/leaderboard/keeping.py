"""Verdicts on sequences: who forgets less than full fine-tuning, and who ends better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.comparable import missing_seeds
from ksl_bench.leaderboard.gains import Row, told_difference
from ksl_bench.leaderboard.verdicts import (
    Verdict,
    claim,
    told_gap,
    told_number,
    unit,
)
from ksl_bench.significance.intervals import ALPHA, Difference, differences
from ksl_bench.significance.ranks import holm
from ksl_bench.significance.resampling import System
from ksl_bench.tasks.readings import WHERE

Measured = Mapping[tuple[str, str], Mapping[str, System]]
"""By baseline and rule, then by measure."""

WORDS = {
    "forgetting": (
        "forgets less than",
        "forgets more than",
        "is not shown to forget less or more than",
    ),
    "mean": ("ends worse than", "ends better than", "is not shown to end better or worse than"),
}
"""Of each measure: what a lower value is, a higher one, and one that is not shown to differ."""


def judge_sequences(rows: Sequence[Row], measured: Measured, spec: VerdictSpec) -> list[Verdict]:
    """Compare every baseline of a sequence, and every merge, with full fine-tuning in the same sequence.

    Each measure is one family of tests, corrected for all its comparisons (Holm).

    Args:
        rows: Of the leaderboard.
        measured: As `add_measures` returns it.
        spec: What was fixed before any number was seen.
    """
    last = {
        row["baseline"]: row
        for row in rows
        if row["sequence"] is not None and row["sequence"]["step"] == row["sequence"]["of"]
    }
    full = next(
        (name for name, row in last.items() if row["method"] == "full" and not row["merge"]), None
    )
    if full is None:
        return []
    return [
        verdict
        for measure in WORDS
        for verdict in _family(measure, full, last, measured, spec.rule)
    ]


def _family(
    measure: str, full: str, last: Mapping[str, Row], measured: Measured, rule: str
) -> Iterator[Verdict]:
    reference = measured.get((full, rule), {}).get(measure)
    others = [
        name
        for name in last
        if name != full and measure in measured.get((name, rule), {}) and reference is not None
    ]
    if reference is None or not others:
        return
    gaps = differences([(measured[name, rule][measure], reference) for name in others])
    levels = holm([one.guarded_p_value for one in gaps])
    for name, gap, level in zip(others, gaps, levels, strict=True):
        yield _verdict(measure, last[name], last[full], rule, gap, float(level))


def _verdict(
    measure: str, row: Row, full: Row, rule: str, gap: Difference, level: float
) -> Verdict:
    lower, higher, neither = WORDS[measure]
    said, verdict, why = neither, "not_shown", ""
    missing = "; ".join(one for one in map(missing_seeds, (row, full)) if one)
    if missing:
        why = f", {missing}"
    elif level < ALPHA and gap.interval.value:
        said = higher if gap.interval.value > 0 else lower
        verdict = said.split(" than")[0].replace(" ", "_")
    elif gap.interval.low > 0 or gap.interval.high < 0:
        why = f", p = {level:.2f} corrected for all comparisons"
    own, other = (one["sequence"][measure][rule] for one in (row, full))
    where, points = WHERE.get(rule, f"by {rule}"), unit(row)
    what = (
        f"{told_number(own)} against {told_number(other)} {points} forgotten of an earlier task"
        if measure == "forgetting"
        else f"{own['value']:.1f} against {other['value']:.1f} {points}, mean over the tasks"
    )
    brief = f"{said} {full['baseline']} ({told_gap(gap)}{why})"
    return Verdict(
        question="forgetting" if measure == "forgetting" else "sequence",
        condition=row["condition"],
        baseline=row["baseline"],
        against=(full["baseline"],),
        rule=rule,
        verdict=verdict,
        brief=brief,
        text=(
            f"{row['baseline']} {said} {full['baseline']} {where}: {what}, difference "
            f"{told_gap(gap)}{why}{claim(gap)}"
        ),
        comparisons=({**told_difference(gap), "adjusted_p_value": level},),
    )
