"""Verdicts on sequences: who forgets less, and who ends better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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

QUESTIONS = {"forgetting": "forgetting", "mean": "sequence"}
"""Measures that every baseline is compared in with full fine-tuning, and what the question is called."""

ALIKE = ("method", "criterion", "k", "sparsity", "trainable_parameters")
"""Fields in which two rows agree that differ only in what their tickets have in common."""

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
    """Compare baselines in one sequence: each with full fine-tuning, a disjoint ticket with one that is not.

    Each measure, and the disjoint tickets, are one family of tests, corrected for all its comparisons (Holm).

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
    against_full = [(name, full) for name in last if full is not None and name != full]
    families = [(measure, question, against_full) for measure, question in QUESTIONS.items()]
    families.append(("forgetting", "disjoint", list(_twins(last))))
    return [
        verdict
        for measure, question, pairs in families
        for verdict in _family(measure, question, pairs, last, measured, spec.rule)
    ]


def _twins(last: Mapping[str, Row]) -> Iterator[tuple[str, str]]:
    """Yield every row with disjoint tickets, with those that differ from it in that alone."""
    for name, row in last.items():
        if row["in_sequence"] != "disjoint" or row["merge"]:
            continue
        for other, twin in last.items():
            same = all(row[field] == twin[field] for field in ALIKE)
            if same and twin["in_sequence"] != "disjoint" and not twin["merge"]:
                yield name, other


def _family(
    measure: str,
    question: str,
    pairs: Sequence[tuple[str, str]],
    last: Mapping[str, Row],
    measured: Measured,
    rule: str,
) -> Iterator[Verdict]:
    known = [
        pair for pair in pairs if all(measure in measured.get((one, rule), {}) for one in pair)
    ]
    gaps = differences(
        [(measured[one, rule][measure], measured[other, rule][measure]) for one, other in known]
    )
    levels = holm([one.guarded_p_value for one in gaps])
    for (one, other), gap, level in zip(known, gaps, levels, strict=True):
        compared = Compared(measure, question, last[one], last[other], rule)
        yield _verdict(compared, gap, float(level))


@dataclass(frozen=True, slots=True)
class Compared:
    """Two rows, and what of them is compared."""

    measure: str
    question: str
    row: Row
    other: Row
    rule: str


def _verdict(compared: Compared, gap: Difference, level: float) -> Verdict:
    measure, row, full, rule = compared.measure, compared.row, compared.other, compared.rule
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
        question=compared.question,
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
