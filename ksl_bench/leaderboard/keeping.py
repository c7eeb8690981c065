"""Verdicts on sequences: who forgets less, and who ends better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.comparable import Terms, apart, missing_of
from ksl_bench.leaderboard.gains import Row, told_difference
from ksl_bench.leaderboard.places import Place, place_of
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


def judge_sequences(
    rows: Sequence[Row], terms: Mapping[Place, Terms], measured: Measured, spec: VerdictSpec
) -> list[Verdict]:
    """Compare baselines in one sequence: each with full fine-tuning, a disjoint ticket with one that is not.

    Each measure, and the disjoint tickets, are one family of tests, corrected for all its comparisons
    (Holm). Two that were not tuned and scored alike at every step are not judged against each other, nor is
    one whose seeds did not all finish.

    Args:
        rows: Of the leaderboard.
        terms: What must be alike for a judgement, of each row that has a score.
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
    at_steps = _by_baseline(rows, terms)
    return [
        verdict
        for measure, question, pairs in families
        for verdict in _family(measure, question, pairs, last, at_steps, measured, spec.rule)
    ]


def _by_baseline(
    rows: Sequence[Row], terms: Mapping[Place, Terms]
) -> dict[str, dict[tuple[int, str], Terms]]:
    """Return the terms of every baseline's rows in the sequence, by step and task."""
    found: dict[str, dict[tuple[int, str], Terms]] = {}
    for row in rows:
        place = place_of(row)
        if row["sequence"] is not None and place in terms:
            at = row["sequence"]["step"], row["scored_under"]
            found.setdefault(row["baseline"], {})[at] = terms[place]
    return found


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
    terms: Mapping[str, Mapping[tuple[int, str], Terms]],
    measured: Measured,
    rule: str,
) -> Iterator[Verdict]:
    known = [
        PairOfRows(
            measure,
            question,
            last[one],
            last[other],
            rule,
            apart=_apart(terms[one], terms[other]),
            missing=missing_of(last[one], last[other]),
        )
        for one, other in pairs
        if all(measure in measured.get((name, rule), {}) for name in (one, other))
    ]
    alike = [pair for pair in known if pair.apart is None]
    systems = [
        (
            measured[pair.row["baseline"], rule][measure],
            measured[pair.other["baseline"], rule][measure],
        )
        for pair in alike
    ]
    found = list(zip(alike, differences(systems), strict=True))
    levels = iter(holm([gap.guarded_p_value for pair, gap in found if pair.missing is None]))
    for pair, gap in found:
        yield _verdict(pair, gap, None if pair.missing else float(next(levels)))
    for pair in known:
        if pair.apart is not None:
            yield _not_comparable(pair, pair.apart)


def _apart(
    one: Mapping[tuple[int, str], Terms], other: Mapping[tuple[int, str], Terms]
) -> str | None:
    """Return why two baselines cannot be judged against each other: the first step that tells them apart."""
    found = (apart(own, other[at]) for at, own in one.items() if at in other)
    return next((why for why in found if why), None)


@dataclass(frozen=True, slots=True)
class PairOfRows:
    """Two rows, what of them is compared, and what forbids it."""

    measure: str
    question: str
    row: Row
    other: Row
    rule: str
    apart: str | None
    """Why they cannot be judged against each other."""
    missing: str | None
    """How many of their seeds finished, where not all did."""


def _verdict(pair: PairOfRows, gap: Difference, level: float | None) -> Verdict:
    """Say what a difference shows; `level` is its corrected p-value, None where seeds are missing."""
    measure, row, other, rule = pair.measure, pair.row, pair.other, pair.rule
    lower, higher, neither = WORDS[measure]
    said, verdict, why = neither, "not_shown", ""
    if level is None:
        why = f", {pair.missing}"
    elif level < ALPHA and gap.interval.value:
        said = higher if gap.interval.value > 0 else lower
        verdict = said.split(" than")[0].replace(" ", "_")
    elif gap.interval.low > 0 or gap.interval.high < 0:
        why = f", p = {level:.2f} corrected for all comparisons"
    own, its = (one["sequence"][measure][rule] for one in (row, other))
    where, points = WHERE.get(rule, f"by {rule}"), unit(row)
    what = (
        f"{told_number(own)} against {told_number(its)} {points} forgotten of an earlier task"
        if measure == "forgetting"
        else f"{own['value']:.1f} against {its['value']:.1f} {points}, mean over the tasks"
    )
    brief = f"{said} {other['baseline']} ({told_gap(gap)}{why})"
    text = (
        f"{said} {other['baseline']} {where}: {what}, difference {told_gap(gap)}{why}{claim(gap)}"
    )
    return _made(pair, verdict, brief, text, [{**told_difference(gap), "adjusted_p_value": level}])


def _not_comparable(pair: PairOfRows, why: str) -> Verdict:
    said = f"not comparable with {pair.other['baseline']}: {why}"
    return _made(pair, "not_comparable", said, f"is {said}", [])


def _made(pair: PairOfRows, verdict: str, brief: str, said: str, numbers: Sequence[Row]) -> Verdict:
    return Verdict(
        question=pair.question,
        condition=pair.row["condition"],
        baseline=pair.row["baseline"],
        against=(pair.other["baseline"],),
        rule=pair.rule,
        verdict=verdict,
        brief=brief,
        text=f"{pair.row['baseline']} {said}",
        comparisons=tuple(numbers),
    )
