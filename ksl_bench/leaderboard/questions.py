"""The questions that a leaderboard answers in words: from the numbers, and never stronger than they are.

Every verdict is on the headline metric of rows that were scored under one condition. Rows that were not
tuned and scored alike are not judged against each other, nor is a row whose seeds did not all finish: those
that diverged would be hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.audits import told_audits
from ksl_bench.leaderboard.comparable import Terms
from ksl_bench.leaderboard.controls import against_controls
from ksl_bench.leaderboard.gains import Systems
from ksl_bench.leaderboard.over_base import over_base
from ksl_bench.leaderboard.verdicts import (
    Compared,
    Verdict,
    claim,
    make_verdict,
    not_comparable,
    told_gap,
    unit,
)
from ksl_bench.significance.intervals import Difference
from ksl_bench.significance.verdicts import Verdict as Margin
from ksl_bench.significance.verdicts import non_inferiority
from ksl_bench.tasks.readings import WHERE

Row = dict[str, Any]


def judge(
    condition: str,
    rows: Sequence[Row],
    systems: Sequence[Systems | None],
    terms: Sequence[Terms | None],
    spec: VerdictSpec,
) -> list[Verdict]:
    """Return all verdicts on the rows that were scored under one condition.

    Args:
        condition: Its name.
        rows: Of the leaderboard, with their gains.
        systems: Of each; None where it has no score.
        terms: Of each, what must be alike for a judgement; None where it has no score.
        spec: What was fixed before any number was seen.
    """
    board = Compared(condition, rows, systems, terms, spec)
    return [
        verdict
        for question in (
            _replaces,
            against_controls,
            over_base,
            _smallest,
            _transfer,
            _certificate,
        )
        for verdict in question(board)
    ]


def _replaces(board: Compared) -> Iterator[Verdict]:
    """Judge each ticket against full fine-tuning and LoRA."""
    for rule in board.rules():
        pairs = [
            (ticket, other)
            for ticket in board.tickets("partial_tuning")
            for other in board.of_method("full", "lora")
        ]
        for (ticket, other), found in zip(pairs, board.compare(pairs, rule), strict=True):
            yield _within(board, "replaces", ticket, other, rule, found)


def _within(
    board: Compared, question: str, ticket: int, other: int, rule: str, found: Difference | None
) -> Verdict:
    """Judge a row against another within the suite's margin."""
    points, one, two = unit(board.rows[ticket]), board.name(ticket), board.name(other)
    margin, missing = board.spec.margin, board.missing(ticket, other)
    if found is None:
        return not_comparable(board, question, ticket, other, rule)
    verdict = Margin.INCONCLUSIVE if missing else non_inferiority(found.interval, margin)
    open_ = missing or f"neither non-inferior within {margin:g} {points} nor worse by more is shown"
    said, brief = {
        Margin.NON_INFERIOR: (
            f"{one} is non-inferior to {two} within {margin:g} {points}",
            f"non-inferior to {two}",
        ),
        Margin.WORSE: (
            f"{one} is worse than {two} by more than {margin:g} {points}",
            f"worse than {two}",
        ),
        Margin.INCONCLUSIVE: (
            f"{one} against {two} is inconclusive: {open_}{';' if missing else ''}",
            f"inconclusive against {two}{f': {missing}' if missing else ''}",
        ),
    }[verdict]
    scores = " against ".join(
        f"{board.score(place, rule, found.seeds):.1f}" for place in (ticket, other)
    )
    over = f" over seed {', '.join(map(str, found.seeds))}" if missing and found.seeds else ""
    text = f"{said} {WHERE[rule]}{over}: {scores}, difference {told_gap(found)}{claim(found)}"
    brief = f"{brief} ({told_gap(found)})"
    return make_verdict(
        board, question, ticket, (other,), rule, str(verdict), brief, text, (found,)
    )


def _smallest(board: Compared) -> Iterator[Verdict]:
    """Name the smallest ticket that is non-inferior to tuning the whole embedding."""
    tickets, rule = board.tickets("partial_tuning"), board.spec.rule
    if not tickets:
        return
    for whole in board.of_method("embedding"):
        found = dict(
            zip(tickets, board.compare([(one, whole) for one in tickets], rule), strict=True)
        )
        known = {place: gap for place, gap in found.items() if gap is not None}
        passing = [
            place
            for place, gap in known.items()
            if not board.missing(place, whole)
            and non_inferiority(gap.interval, board.spec.margin) == Margin.NON_INFERIOR
        ]
        fewest = _last_size(board, list(known), passing)
        sizes = ", ".join(str(board.size(place)) for place in tickets)
        verdict = "none" if fewest is None else str(fewest)
        of = f"{verdict} of {sizes} rows"
        said = f"the fewest that are non-inferior is {of}"
        if fewest is None:
            said = f"{of} is shown non-inferior"
        if passing:
            said = f"from the most down, {said}"
        gaps = "; ".join(
            f"{board.size(place)}: {_gap(board, place, whole, gap)}" for place, gap in found.items()
        )
        within = f"within {board.spec.margin:g} {unit(board.rows[whole])} {WHERE[rule]}"
        text = f"{said} to {board.name(whole)} {within} ({gaps}){claim(*known.values())}"
        brief = f"{said} to it ({gaps})"
        numbers = list(known.values())
        yield make_verdict(
            board, "smallest", whole, list(known), rule, verdict, brief, text, numbers
        )


def _last_size(board: Compared, tested: Sequence[int], passing: Sequence[int]) -> int | None:
    """Go from the largest size down to the first that does not pass; return the last that did, if any.

    Any size may pass by chance, so the smallest of all that do would be wrong more often than one test is. In
    an order that was fixed before it is not. Tickets of one size pass together.

    Source: Maurer, Hothorn and Lehmacher 1995 (fixed-sequence testing).
    """
    found = None
    for size in sorted({board.size(place) for place in tested}, reverse=True):
        if any(board.size(place) == size and place not in passing for place in tested):
            break
        found = size
    return found


def _gap(board: Compared, one: int, two: int, found: Difference | None) -> str:
    if found is None:
        return f"not comparable, {board.apart(one, two)}"
    missing = board.missing(one, two)
    return told_gap(found) + (f", {missing}" if missing else "")


def _transfer(board: Compared) -> Iterator[Verdict]:
    """Say what is lost by tuning under another condition than the one that is scored."""
    home = {board.rows[place]["baseline"]: place for place in board.scored()}
    rule = board.spec.rule
    for place, row in enumerate(board.rows):
        there = home.get(row["baseline"])
        moved = row["condition"] != board.condition and board.systems[place] is not None
        moved = moved and row.get("sequence") is None
        if not moved or there is None:
            continue
        (gap,), missing = board.compare([(place, there)], rule), board.missing(place, there)
        if gap is None:
            verdict, said = "not_comparable", f"is not comparable: {board.apart(place, there)}"
        else:
            lost = gap.interval.high < 0
            verdict = "inconclusive" if missing else "loses" if lost else "not_shown"
            said = {
                "loses": "loses against tuning here",
                "not_shown": "is not shown to lose against tuning here",
                "inconclusive": f"against tuning here is inconclusive: {missing}",
            }[verdict]
            said += f": {told_gap(gap)}"
        found = [] if gap is None else [gap]
        brief = f"tuned under {row['condition']} {said}"
        text = (
            f"{row['baseline']} tuned under {row['condition']} and scored under {board.condition} {said}"
            + (f" {unit(row)} {WHERE[rule]}{claim(*found)}" if found else "")
        )
        yield make_verdict(board, "transfer", place, (there,), rule, verdict, brief, text, found)


def _certificate(board: Compared) -> Iterator[Verdict]:
    """Hold what certificates claim, that the other rows do not matter, against what is seen."""
    rule = board.spec.rule
    for ticket in board.tickets("partial_transfer"):
        for whole in board.of_method("embedding"):
            (found,) = board.compare([(ticket, whole)], rule)
            within = _within(board, "certificate", ticket, whole, rule, found)
            word = {
                "non_inferior": "is seen",
                "worse": "is not seen",
                "inconclusive": "is open",
                "not_comparable": "is not judged",
            }
            carried = (
                f"that {board.size(ticket)} rows carry the tuned embedding {word[within.verdict]}"
            )
            audited = told_audits(board.rows[ticket])
            text = f"the claim {carried}: {within.text}; {audited}"
            brief = f"{carried}: {within.brief}; {audited}"
            numbers = [] if found is None else [found]
            verdict = within.verdict
            yield make_verdict(
                board, "certificate", ticket, (whole,), rule, verdict, brief, text, numbers
            )
