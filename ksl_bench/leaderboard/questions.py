"""The questions that a leaderboard answers in words: from the numbers, and never stronger than they are.

Every verdict is on the headline metric of rows that were scored under one condition. One that compares a
ticket with several controls corrects for all such comparisons under that condition (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.gains import (
    Systems,
    headline,
    is_base,
    is_clear,
    readings_of,
    shown_rules,
)
from ksl_bench.leaderboard.tables import whole_percent
from ksl_bench.leaderboard.verdicts import (
    Compared,
    Verdict,
    claim,
    make_verdict,
    one_seed,
    told_gap,
    told_number,
    unit,
)
from ksl_bench.significance.intervals import ALPHA, Difference
from ksl_bench.significance.ranks import holm
from ksl_bench.significance.verdicts import Verdict as Margin
from ksl_bench.significance.verdicts import non_inferiority
from ksl_bench.tasks.readings import WHERE

Row = dict[str, Any]

CONTROLS = {
    "frequency": "the {k} most frequent tokens",
    "frequency_matched": "{k} tokens as frequent as its own",
    "random": "{k} tokens drawn by chance",
    "l2": "the {k} rows that moved furthest",
    "cosine": "the {k} rows that turned most",
    "gradient": "the {k} rows of the largest gradient",
    "ks_without_template": "the KS order without the prompt's tokens",
    "template": "the prompt's own tokens",
}


def judge(
    condition: str, rows: Sequence[Row], systems: Sequence[Systems | None], spec: VerdictSpec
) -> list[Verdict]:
    """Return all verdicts on the rows that were scored under one condition.

    Args:
        condition: Its name.
        rows: Of the leaderboard, with their gains.
        systems: Of each; None where it has no score.
        spec: What was fixed before any number was seen.
    """
    board = Compared(condition, rows, systems, spec)
    return [
        verdict
        for question in (
            _replaces,
            _controls,
            _chance,
            _termination,
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
    board: Compared, question: str, ticket: int, other: int, rule: str, found: Difference
) -> Verdict:
    verdict, margin = non_inferiority(found.interval, board.spec.margin), board.spec.margin
    points, one, two = unit(board.rows[ticket]), board.name(ticket), board.name(other)
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
            f"{one} against {two} is inconclusive: neither non-inferior within {margin:g} {points} nor worse "
            "by more is shown",
            f"inconclusive against {two}",
        ),
    }[verdict]
    scores = f"{board.score(ticket, rule):.1f} against {board.score(other, rule):.1f}"
    text = f"{said} {WHERE[rule]}: {scores}, difference {told_gap(found)}{claim(found)}"
    brief = f"{brief} ({told_gap(found)})"
    return make_verdict(
        board, question, ticket, (other,), rule, str(verdict), brief, text, (found,)
    )


def _controls(board: Compared) -> Iterator[Verdict]:
    """Judge each ticket against rows that other criteria pick, as many, tuned alike."""
    for rule in board.rules():
        families = {
            ticket: [
                other
                for other in board.of_method("partial_tuning")
                if board.rows[other]["criterion"] != "ks" and _alike(board, ticket, other)
            ]
            for ticket in board.tickets("partial_tuning")
        }
        pairs = [(ticket, other) for ticket, others in families.items() for other in others]
        found = board.compare(pairs, rule)
        adjusted = dict(zip(pairs, holm([one.guarded_p_value for one in found]), strict=True))
        by_pair = dict(zip(pairs, found, strict=True))
        for ticket, others in families.items():
            if others:
                gaps = [by_pair[ticket, other] for other in others]
                levels = [float(adjusted[ticket, other]) for other in others]
                yield _against_controls(board, ticket, others, rule, gaps, levels)


def _against_controls(
    board: Compared,
    ticket: int,
    others: Sequence[int],
    rule: str,
    gaps: Sequence[Difference],
    levels: Sequence[float],
) -> Verdict:
    said: dict[str, list[str]] = {"not shown better than": [], "better than": [], "worse than": []}
    for other, gap, level in zip(others, gaps, levels, strict=True):
        row = board.rows[other]
        criterion = str(row["criterion"])
        words = CONTROLS.get(criterion, criterion).format(k=board.size(other))
        kind, why = "not shown better than", ""
        if level < ALPHA and gap.interval.value:
            kind = "better than" if gap.interval.value > 0 else "worse than"
        elif gap.interval.low > 0 or gap.interval.high < 0:
            why = f", p = {level:.2f} corrected for all controls"
        said[kind].append(f"{words} ({told_gap(gap)}{why})")
    brief = "; ".join(f"{kind} {', '.join(parts)}" for kind, parts in said.items() if parts)
    text = f"{board.name(ticket)} is, {WHERE[rule]}, {brief}{claim(*gaps)}"
    verdict = (
        "not_shown_better" if said["not shown better than"] or said["worse than"] else "better"
    )
    return make_verdict(board, "controls", ticket, others, rule, verdict, brief, text, gaps, levels)


def _alike(board: Compared, ticket: int, other: int) -> bool:
    one, two = board.rows[ticket], board.rows[other]
    same_size = board.size(ticket) == board.size(other)
    return same_size and one["ranking"]["group"] == two["ranking"]["group"]


def _chance(board: Compared) -> Iterator[Verdict]:
    """Judge rows drawn by chance against the base: if they gained, tuning anything would do."""
    for place in board.of_method("partial_tuning"):
        row = board.rows[place]
        if row["criterion"] != "random" or row["gains"] is None:
            continue
        gains = {rule: row["gains"][rule][headline(row)] for rule in board.rules()}
        margin = board.spec.margin
        parts = ", ".join(f"{told_number(gain)} {WHERE[rule]}" for rule, gain in gains.items())
        if all(gain["high"] < margin for gain in gains.values()):
            verdict, said = "nothing", f"gains less than {margin:g} {unit(row)} over the base"
        elif any(gain["low"] > 0 for gain in gains.values()):
            verdict, said = "better", "is better than the base"
        else:
            verdict, said = "not_shown_better", "is not shown better than the base"
        brief = f"{said} ({parts})"
        text = f"{row['baseline']} {said}: {parts}{one_seed(*gains.values())}"
        numbers = list(gains.values())
        against = (_base(board),)
        yield make_verdict(
            board, "chance", place, against, board.spec.rule, verdict, brief, text, numbers
        )


def _termination(board: Compared) -> Iterator[Verdict]:
    """Say what share of a plain gain is form, such as learning to stop, where it is clear of the margin."""
    places = [
        *board.of_method("full", "lora", "prefix", "embedding"),
        *board.tickets("partial_tuning"),
    ]
    for place in places:
        row = board.rows[place]
        if row["termination_share"] is None:
            continue
        metric, share = headline(row), row["termination_share"]
        rules, form = shown_rules(row), readings_of(row).form
        raw, content = (row["gains"][rule][metric] for rule in rules)
        rest = "" if is_clear(content) else ", which may be nothing"
        text = (
            f"{whole_percent(share)} % of what {row['baseline']} gains {WHERE[rules[0]]} is {form}: "
            f"{told_number(row['termination'])} of {told_number(raw)} {unit(row)}; {WHERE[rules[1]]} "
            f"it gains {told_number(content)}{rest}{one_seed(raw)}"
        )
        verdict = "termination" if not is_clear(content) else "termination_and_content"
        numbers, against = (row["termination"], raw, content), (_base(board),)
        brief = f"{whole_percent(share)} % of its {rules[0]} gain is {form}"
        yield make_verdict(
            board, "termination", place, against, rules[0], verdict, brief, text, numbers
        )


def _smallest(board: Compared) -> Iterator[Verdict]:
    """Name the smallest ticket that is non-inferior to tuning the whole embedding."""
    tickets, rule = board.tickets("partial_tuning"), board.spec.rule
    if not tickets:
        return
    for whole in board.of_method("embedding"):
        found = board.compare([(ticket, whole) for ticket in tickets], rule)
        enough = [
            place
            for place, gap in zip(tickets, found, strict=True)
            if non_inferiority(gap.interval, board.spec.margin) == Margin.NON_INFERIOR
        ]
        sizes = ", ".join(str(board.size(place)) for place in tickets)
        verdict = str(board.size(enough[0])) if enough else "none"
        of = f"{verdict} of {sizes} rows"
        said = (
            f"the fewest that are non-inferior is {of}" if enough else f"{of} is shown non-inferior"
        )
        gaps = "; ".join(
            f"{board.size(place)}: {told_gap(gap)}"
            for place, gap in zip(tickets, found, strict=True)
        )
        within = f"within {board.spec.margin:g} {unit(board.rows[whole])} {WHERE[rule]}"
        text = f"{said} to {board.name(whole)} {within} ({gaps}){claim(*found)}"
        brief = f"{said} to it ({gaps})"
        yield make_verdict(board, "smallest", whole, tickets, rule, verdict, brief, text, found)


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
        (gap,) = board.compare([(place, there)], rule)
        lost = gap.interval.high < 0
        verdict = "loses" if lost else "not_shown"
        said = f"{'loses' if lost else 'is not shown to lose'} against tuning here: {told_gap(gap)}"
        brief = f"tuned under {row['condition']} {said}"
        text = (
            f"{row['baseline']} tuned under {row['condition']} and scored under {board.condition} "
            f"{said} {unit(row)} {WHERE[rule]}{claim(gap)}"
        )
        yield make_verdict(board, "transfer", place, (there,), rule, verdict, brief, text, (gap,))


def _certificate(board: Compared) -> Iterator[Verdict]:
    """Hold the claim of a certified ticket, that the other rows do not matter, against what is seen."""
    rule = board.spec.rule
    for ticket in board.tickets("partial_transfer"):
        for whole in board.of_method("embedding"):
            (found,) = board.compare([(ticket, whole)], rule)
            within = _within(board, "certificate", ticket, whole, rule, found)
            word = {"non_inferior": "is seen", "worse": "is not seen", "inconclusive": "is open"}
            carried = (
                f"that {board.size(ticket)} rows carry the tuned embedding {word[within.verdict]}"
            )
            text, brief = f"the claim {carried}: {within.text}", f"{carried}: {within.brief}"
            verdict = within.verdict
            yield make_verdict(
                board, "certificate", ticket, (whole,), rule, verdict, brief, text, (found,)
            )


def _base(board: Compared) -> int:
    return next(place for place in board.of_method("none") if is_base(board.rows[place]))
