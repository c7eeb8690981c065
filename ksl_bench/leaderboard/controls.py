"""Does the KS test pick better rows than simpler criteria? Each ticket against its controls of the same size.

All such comparisons under one condition are corrected for together (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ksl_bench.leaderboard.verdicts import Compared, Verdict, claim, make_verdict, told_gap
from ksl_bench.significance.intervals import ALPHA, Difference
from ksl_bench.significance.ranks import holm
from ksl_bench.tasks.readings import WHERE

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

_BETTER, _WORSE = "better than", "worse than"
_NOT_SHOWN, _APART = "not shown better than", "not comparable with"

Pair = tuple[int, int]


def against_controls(board: Compared) -> Iterator[Verdict]:
    """Judge each ticket against rows that other criteria pick, as many, tuned alike."""
    for rule in board.rules():
        families = {
            ticket: [
                other
                for other in board.of_method("partial_tuning")
                if board.rows[other]["criterion"] != "ks"
                and board.size(ticket) == board.size(other)
            ]
            for ticket in board.tickets("partial_tuning")
        }
        pairs = [(ticket, other) for ticket, others in families.items() for other in others]
        found = dict(zip(pairs, board.compare(pairs, rule), strict=True))
        judged = [(pair, gap) for pair, gap in found.items() if gap and not board.missing(*pair)]
        levels = holm([gap.guarded_p_value for _, gap in judged])
        adjusted = {pair: float(p) for (pair, _), p in zip(judged, levels, strict=True)}
        for ticket, others in families.items():
            if others:
                yield _verdict(board, ticket, others, rule, found, adjusted)


def _verdict(
    board: Compared,
    ticket: int,
    others: Sequence[int],
    rule: str,
    found: Mapping[Pair, Difference | None],
    adjusted: Mapping[Pair, float],
) -> Verdict:
    said: dict[str, list[str]] = {_NOT_SHOWN: [], _BETTER: [], _WORSE: [], _APART: []}
    known = {other: gap for other in others if (gap := found[ticket, other]) is not None}
    for other in others:
        criterion = str(board.rows[other]["criterion"])
        words = CONTROLS.get(criterion, criterion).format(k=board.size(other))
        if other not in known:
            said[_APART].append(f"{words} ({board.apart(ticket, other)})")
            continue
        kind, why = _told(known[other], adjusted.get((ticket, other)))
        why += f", {missing}" if (missing := board.missing(other)) else ""
        said[kind].append(f"{words} ({told_gap(known[other])}{why})")
    brief = "; ".join(f"{kind} {', '.join(parts)}" for kind, parts in said.items() if parts)
    brief += f"; {missing}" if (missing := board.missing(ticket)) else ""
    text = f"{board.name(ticket)} is, {WHERE[rule]}, {brief}{claim(*known.values())}"
    not_better = said[_NOT_SHOWN] or said[_WORSE]
    verdict = "not_shown_better" if not_better else "better" if known else "not_comparable"
    levels = [adjusted.get((ticket, other)) for other in known]
    gaps = list(known.values())
    return make_verdict(
        board, "controls", ticket, list(known), rule, verdict, brief, text, gaps, levels
    )


def _told(gap: Difference, level: float | None) -> tuple[str, str]:
    """Return how a ticket compares with a control, and what is to be added to the interval."""
    if level is None:  # seeds are missing
        return _NOT_SHOWN, ""
    if level < ALPHA and gap.interval.value:
        return (_BETTER if gap.interval.value > 0 else _WORSE), ""
    if gap.interval.low > 0 or gap.interval.high < 0:
        return _NOT_SHOWN, f", p = {level:.2f} corrected for all controls"
    return _NOT_SHOWN, ""
