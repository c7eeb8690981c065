"""The question that many directions raise: does a method gain everywhere, or pay in some for others?

A gain or loss is told of a direction only if chance is ruled out over all directions and rows of the
condition (Holm), and of the mean of a bucket only if it is over all buckets and rows. Rows that were not
computed and scored as the base was are not judged, nor are those whose seeds did not all finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.leaderboard.directions import Gains, Groups, bucket_gains, direction_gains
from ksl_bench.leaderboard.gains import headline, is_base, told_difference
from ksl_bench.leaderboard.verdicts import Compared, Verdict, claim, make_verdict, told_gap, unit
from ksl_bench.significance.intervals import ALPHA, Difference
from ksl_bench.significance.ranks import holm
from ksl_bench.tasks.readings import WHERE

NAMED = 4
"""Directions that are named with their numbers; of more the first are, by size."""

BUCKET_NAMES = {
    "supervised": "supervised directions",
    "zero_shot_pair": "zero-shot pairs",
    "zero_shot_source": "zero-shot sources",
    "zero_shot_target": "zero-shot targets",
    "zero_shot_both": "zero-shot on both sides",
}
"""Those that share no direction."""

Row = dict[str, Any]
Part = tuple[str, Difference]


@dataclass(frozen=True, slots=True)
class Shown:
    """The parts of one row, by what is shown of them, the largest difference first."""

    gained: list[Part]
    lost: list[Part]
    neither: list[Part]
    levels: tuple[float, ...]
    """Corrected p-value of each part, in the order of its gains."""


def judge_directions(board: Compared, groups: Sequence[Groups]) -> list[Verdict]:
    """Say of every tuned row on how many directions it gains, and on which it loses.

    Args:
        board: The rows of one condition, with their `directions`.
        groups: Of each row; empty where it has none.
    """
    base = next((one for one in board.scored() if is_base(board.rows[one])), None)
    if base is None or board.rows[base].get("directions") is None:
        return []
    tuned = [one for one in board.scored() if board.rows[one]["method"] != "none" and groups[one]]
    return [
        verdict for rule in board.rules() for verdict in _judge(board, groups, tuned, base, rule)
    ]


def _judge(
    board: Compared, groups: Sequence[Groups], tuned: Sequence[int], base: int, rule: str
) -> Iterator[Verdict]:
    metric = headline(board.rows[base])
    places = [one for one in tuned if not board.apart(one, base) and not board.missing(one, base)]
    single = {
        place: direction_gains(groups[place], groups[base], rule=rule, metric=metric)
        for place in places
    }
    means = {
        place: bucket_gains(
            groups[place], groups[base], _buckets(board.rows[place]), rule=rule, metric=metric
        )
        for place in places
    }
    by_direction, by_bucket = corrected(single), corrected(means)
    for place in tuned:
        if place in single:
            shown = by_direction[place], by_bucket[place]
            yield _verdict(board, place, base, rule, single[place], *shown)
        else:
            yield _forbidden(board, place, base, rule)


def _buckets(row: Row) -> dict[str, list[str]]:
    """Return the directions of a row's buckets that share none."""
    told: Row = row["directions"]["buckets"]
    return {name: told[name]["directions"] for name in BUCKET_NAMES if name in told}


def _forbidden(board: Compared, place: int, base: int, rule: str) -> Verdict:
    """Say why a row is not judged: what tells it and the base apart, or seeds that are missing."""
    apart, two = board.apart(place, base), board.name(base)
    if apart is not None:
        verdict, said = "not_comparable", f"not comparable with {two}: {apart}"
    else:
        missing = board.missing(place, base)
        verdict, said = "inconclusive", f"inconclusive against {two}: {missing}"
    text = f"{board.name(place)} is {said}"
    return make_verdict(board, "directions", place, (base,), rule, verdict, said, text, ())


def corrected(gains: Mapping[int, Gains]) -> dict[int, Shown]:
    """Return what is shown of every row's parts, corrected over all rows and parts."""
    levels = iter(holm([one.guarded_p_value for some in gains.values() for one in some.found]))
    return {
        place: _shown(some, [float(next(levels)) for _ in some.found])
        for place, some in gains.items()
    }


def _shown(gains: Gains, levels: Sequence[float]) -> Shown:
    parts = sorted(
        zip(gains.names, gains.found, levels, strict=True),
        key=lambda part: -abs(part[1].interval.value),
    )
    clear = [(name, one) for name, one, level in parts if level < ALPHA]
    return Shown(
        gained=[part for part in clear if part[1].interval.value > 0],
        lost=[part for part in clear if part[1].interval.value < 0],
        neither=[(name, one) for name, one, level in parts if level >= ALPHA],
        levels=tuple(levels),
    )


def _word(directions: Shown, buckets: Shown) -> str:
    gained, lost = directions.gained + buckets.gained, directions.lost + buckets.lost
    if gained and lost:
        return "uneven"
    if lost:
        return "loses"
    if not gained:
        return "nowhere"
    return "partly" if directions.neither else "everywhere"


def _verdict(
    board: Compared,
    place: int,
    base: int,
    rule: str,
    gains: Gains,
    directions: Shown,
    buckets: Shown,
) -> Verdict:
    parts = [f"gains on {len(directions.gained)} of {len(gains.names)} directions"]
    if directions.lost:
        parts.append(
            f"loses on {len(directions.lost)} ({_listed(directions.lost[:NAMED], directions.lost)})"
        )
    if directions.neither:
        parts.append(f"neither is shown on {len(directions.neither)}")
    brief = ", ".join(parts)
    means = "; ".join(
        f"{said} {_listed([(BUCKET_NAMES[name], one) for name, one in some])}"
        for said, some in (
            ("a gain on", buckets.gained),
            ("a loss on", buckets.lost),
            ("neither shown on", buckets.neither),
        )
        if some
    )
    text = (
        f"{board.name(place)} {brief}, {unit(board.rows[place])} over {board.name(base)} {WHERE[rule]}; "
        f"by bucket: {means}{claim(*gains.found)}"
    )
    numbers = [
        {**told_difference(one), "direction": name, "adjusted_p_value": level}
        for name, one, level in zip(gains.names, gains.found, directions.levels, strict=True)
    ]
    word = _word(directions, buckets)
    return make_verdict(
        board,
        "directions",
        place,
        (base,),
        rule,
        word,
        f"{brief}; by bucket: {means}",
        text,
        numbers,
    )


def _listed(some: Sequence[Part], of: Sequence[Part] = ()) -> str:
    """Return parts with their numbers, and how many more there are."""
    more = len(of) - len(some)
    said = ", ".join(f"{name}: {told_gap(one)}" for name, one in some)
    return f"{said}, and {more} more" if more > 0 else said
