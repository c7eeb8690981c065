"""The question that many directions raise: does a method gain everywhere, or pay in some for others?

A gain or loss is told of a direction only if chance is ruled out over all directions and rows of the
condition (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.leaderboard.directions import Gains, Groups, direction_gains
from ksl_bench.leaderboard.gains import headline, told_difference
from ksl_bench.leaderboard.verdicts import Compared, Verdict, claim, make_verdict, told_gap, unit
from ksl_bench.significance.intervals import ALPHA, Difference
from ksl_bench.significance.ranks import holm
from ksl_bench.tasks.readings import WHERE

NAMED = 4
"""Directions that are named with their numbers; of more the first are, by size."""

BUCKET_NAMES = {
    "supervised": "supervised",
    "zero_shot_pair": "zero-shot pairs",
    "zero_shot_source": "zero-shot sources",
    "zero_shot_target": "zero-shot targets",
    "zero_shot_both": "zero-shot on both sides",
    "english_centric": "with English",
    "not_english_centric": "without English",
}


@dataclass(frozen=True, slots=True)
class _Split:
    """The directions of one row, by what is shown of them."""

    gained: list[tuple[str, Difference]]
    lost: list[tuple[str, Difference]]
    count: int


def judge_directions(board: Compared, groups: Sequence[Groups]) -> list[Verdict]:
    """Say of every tuned row on how many directions it gains, and on which it loses.

    Args:
        board: The rows of one condition, with their `directions`.
        groups: Of each row; empty where it has none.
    """
    bases = board.of_method("none")
    if not bases or board.rows[bases[0]].get("directions") is None:
        return []
    places = [one for one in board.scored() if one not in bases and groups[one]]
    return [verdict for rule in board.rules() for verdict in _judge(board, groups, places, rule)]


def _judge(
    board: Compared, groups: Sequence[Groups], places: Sequence[int], rule: str
) -> Iterator[Verdict]:
    base = board.of_method("none")[0]
    metric = headline(board.rows[base])
    found = {
        place: direction_gains(groups[place], groups[base], rule=rule, metric=metric)
        for place in places
    }
    levels = iter(holm([one.guarded_p_value for gains in found.values() for one in gains.found]))
    for place, gains in found.items():
        adjusted = [float(next(levels)) for _ in gains.found]
        yield _verdict(board, place, base, rule, gains, adjusted)


def _split(gains: Gains, adjusted: Sequence[float]) -> _Split:
    shown = [
        (name, one)
        for name, one, level in zip(gains.directions, gains.found, adjusted, strict=True)
        if level < ALPHA
    ]
    shown.sort(key=lambda one: -abs(one[1].interval.value))
    return _Split(
        gained=[one for one in shown if one[1].interval.value > 0],
        lost=[one for one in shown if one[1].interval.value < 0],
        count=len(gains.directions),
    )


def _verdict(
    board: Compared, place: int, base: int, rule: str, gains: Gains, adjusted: Sequence[float]
) -> Verdict:
    split, row = _split(gains, adjusted), board.rows[place]
    verdict = "nowhere" if not split.gained else "partly"
    if split.gained and split.lost:
        verdict = "uneven"
    elif len(split.gained) == split.count:
        verdict = "everywhere"
    elif split.lost:
        verdict = "loses"
    rest = split.count - len(split.gained) - len(split.lost)
    parts = [f"gains on {len(split.gained)} of {split.count} directions"]
    if split.lost:
        parts.append(f"loses on {_named(split.lost)}")
    if rest:
        parts.append(f"neither is shown on {rest}")
    brief = ", ".join(parts)
    means = _bucket_gains(row, rule)
    text = (
        f"{board.name(place)} {brief}, {unit(row)} over {board.name(base)} {WHERE[rule]}; mean gain: {means}"
        f"{claim(*gains.found)}"
    )
    numbers = [
        {**told_difference(one), "direction": name, "adjusted_p_value": level}
        for name, one, level in zip(gains.directions, gains.found, adjusted, strict=True)
    ]
    return make_verdict(board, "directions", place, (base,), rule, verdict, brief, text, numbers)


def _named(shown: Sequence[tuple[str, Difference]]) -> str:
    said = ", ".join(f"{name}: {told_gap(one)}" for name, one in shown[:NAMED])
    more = len(shown) - NAMED
    return f"{len(shown)} ({said}{f', and {more} more' if more > 0 else ''})"


def _bucket_gains(row: dict[str, Any], rule: str) -> str:
    metric = headline(row)
    return ", ".join(
        f"{told['value']:+.1f} [{told['low']:+.1f}, {told['high']:+.1f}] {BUCKET_NAMES[name]}"
        for name, bucket in row["directions"]["buckets"].items()
        for told in [bucket["gains"][rule][metric]]
        if not name.endswith("english_centric")
    )
