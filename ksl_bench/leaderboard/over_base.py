"""The questions that gains over the base answer: whether chance does, and how much is learning the form."""

from __future__ import annotations

from collections.abc import Iterator

from ksl_bench.leaderboard.gains import (
    headline,
    is_base,
    is_clear,
    readings_of,
    shown_rules,
    tells_form,
)
from ksl_bench.leaderboard.tables import whole_percent
from ksl_bench.leaderboard.verdicts import (
    Compared,
    Verdict,
    make_verdict,
    not_comparable,
    one_seed,
    told_number,
    unit,
)
from ksl_bench.tasks.readings import WHERE


def over_base(board: Compared) -> Iterator[Verdict]:
    """Judge rows drawn by chance, and what tuned rows gained, against the base; nothing without one."""
    base = next((one for one in board.of_method("none") if is_base(board.rows[one])), None)
    if base is not None:
        yield from _chance(board, base)
        yield from _termination(board, base)


def _chance(board: Compared, base: int) -> Iterator[Verdict]:
    """Judge rows drawn by chance against the base: if they gained, tuning anything would do."""
    for place in board.of_method("partial_tuning"):
        row = board.rows[place]
        if row["criterion"] != "random":
            continue
        if row["no_gains"]:
            yield not_comparable(board, "chance", place, base, board.spec.rule)
            continue
        gains = {rule: row["gains"][rule][headline(row)] for rule in board.rules()}
        margin = board.spec.margin
        parts = ", ".join(f"{told_number(gain)} {WHERE[rule]}" for rule, gain in gains.items())
        if missing := board.missing(place):
            verdict, said = "inconclusive", f"against the base is inconclusive: {missing}"
        elif all(gain["high"] < margin for gain in gains.values()):
            verdict, said = "nothing", f"gains less than {margin:g} {unit(row)} over the base"
        elif any(gain["low"] > 0 for gain in gains.values()):
            verdict, said = "better", "is better than the base"
        else:
            verdict, said = "not_shown_better", "is not shown better than the base"
        brief = f"{said} ({parts})"
        text = f"{row['baseline']} {said}: {parts}{one_seed(*gains.values())}"
        numbers = list(gains.values())
        yield make_verdict(
            board, "chance", place, (base,), board.spec.rule, verdict, brief, text, numbers
        )


def _termination(board: Compared, base: int) -> Iterator[Verdict]:
    """Say what share of a plain gain is form, such as learning to stop, where it is clear of the margin."""
    places = [
        *board.of_method("full", "lora", "prefix", "embedding"),
        *board.tickets("partial_tuning"),
    ]
    for place in places:
        row = board.rows[place]
        rules, form = shown_rules(row), readings_of(row).form
        if row["no_gains"] and tells_form(row):
            yield not_comparable(board, "termination", place, base, rules[0])
        if row["termination_share"] is None:
            continue
        metric, share = headline(row), row["termination_share"]
        raw, content = (row["gains"][rule][metric] for rule in rules)
        rest = "" if is_clear(content) else ", which may be nothing"
        rest += f"; {missing}" if (missing := board.missing(place)) else ""
        text = (
            f"{whole_percent(share)} % of what {row['baseline']} gains {WHERE[rules[0]]} is {form}: "
            f"{told_number(row['termination'])} of {told_number(raw)} {unit(row)}; {WHERE[rules[1]]} "
            f"it gains {told_number(content)}{rest}{one_seed(raw)}"
        )
        verdict = "termination" if not is_clear(content) else "termination_and_content"
        numbers = (row["termination"], raw, content)
        brief = f"{whole_percent(share)} % of its {rules[0]} gain is {form}"
        yield make_verdict(
            board, "termination", place, (base,), rules[0], verdict, brief, text, numbers
        )
