"""Many directions on a leaderboard: buckets by what was tuned on, and gains direction by direction.

A direction is

- `supervised`, if it was tuned on;
- `zero_shot_pair`, if its source was tuned on as a source and its target as a target, but never together;
- `zero_shot_source`, if its source was never a source; `zero_shot_target`, if its target was never a target;
- `zero_shot_both`, if neither was.

Besides, it has English on one side or not. The score of a bucket is the plain mean of its directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksl_bench.leaderboard.gains import headline, is_base, shown_rules, told, told_difference
from ksl_bench.leaderboard.runs import Group
from ksl_bench.significance.intervals import Difference, differences, mean_intervals
from ksl_bench.significance.resampling import System

Row = dict[str, Any]
Groups = Mapping[Group, System]

AXIS = "direction"
BUCKETS = (
    "supervised",
    "zero_shot_pair",
    "zero_shot_source",
    "zero_shot_target",
    "zero_shot_both",
    "english_centric",
    "not_english_centric",
)
"""In the order of tables."""


def bucket_of(direction: str, tuned_on: Sequence[str]) -> str:
    """Return which of the first five buckets a direction is in."""
    if direction in tuned_on:
        return "supervised"
    source, target = direction.split("-")
    seen_source = source in {one.split("-")[0] for one in tuned_on}
    seen_target = target in {one.split("-")[1] for one in tuned_on}
    return {
        (True, True): "zero_shot_pair",
        (False, True): "zero_shot_source",
        (True, False): "zero_shot_target",
        (False, False): "zero_shot_both",
    }[seen_source, seen_target]


def buckets_of(directions: Sequence[str], tuned_on: Sequence[str]) -> dict[str, list[str]]:
    """Return the directions of every bucket that has any; each is in two of them."""
    found: dict[str, list[str]] = {name: [] for name in BUCKETS}
    for one in directions:
        found[bucket_of(one, tuned_on)].append(one)
        english = "eng" in [code[:3] for code in one.split("-")]
        found["english_centric" if english else "not_english_centric"].append(one)
    return {name: some for name, some in found.items() if some}


@dataclass(frozen=True, slots=True)
class Gains:
    """What one row gained over the base, part by part, on the headline metric under one rule."""

    names: tuple[str, ...]
    """Of the parts: directions or buckets."""
    found: tuple[Difference, ...]
    """Of each part."""


def direction_gains(own: Groups, base: Groups, *, rule: str, metric: str) -> Gains:
    """Return what a row gained over the base in every direction."""
    names = tuple(group for axis, group, *rest in own if axis == AXIS and rest == [rule, metric])
    pairs = [(own[AXIS, one, rule, metric], base[AXIS, one, rule, metric]) for one in names]
    return Gains(names, tuple(differences(pairs)))


def bucket_gains(
    own: Groups, base: Groups, buckets: Mapping[str, Sequence[str]], *, rule: str, metric: str
) -> Gains:
    """Return what a row gained over the base in the mean of every bucket."""
    kind = (rule, metric)
    pairs = [(_mean(own, some, kind), _mean(base, some, kind)) for some in buckets.values()]
    return Gains(tuple(buckets), tuple(differences(pairs)))


def mean_system(systems: Sequence[System]) -> System:
    """Return the mean of systems that were scored on the same draw under the same seeds."""
    first = systems[0]
    return System(
        first.seeds,
        np.mean([one.scores_R for one in systems], axis=0),
        np.mean([one.resampled_BR for one in systems], axis=0),
        first.draw,
    )


def add_directions(
    rows: Sequence[Row], groups: Sequence[Groups], spec: Mapping[str, Any] | None
) -> None:
    """Add `directions` to rows that were scored under one condition; None where the task has none.

    Args:
        rows: With their scores.
        groups: Of each row; empty where it has none.
        spec: The condition's task, as the plan has it.
    """
    for row in rows:
        row["directions"] = None
    if spec is None or spec.get("name") != "directions":
        return
    buckets = buckets_of(spec["directions"], spec["tuned_on"])
    base = next(
        (own for row, own in zip(rows, groups, strict=True) if own and is_base(row)),
        None,
    )
    for row, own in zip(rows, groups, strict=True):
        if not own:
            continue
        against = None if is_base(row) else base
        row["directions"] = {
            "tuned_on": list(spec["tuned_on"]),
            "buckets": {
                name: {"directions": some, **_bucket(some, own, against)}
                for name, some in buckets.items()
            },
            "gains": None if against is None else _each(row, own, against),
        }


def _bucket(directions: Sequence[str], own: Groups, base: Groups | None) -> Row:
    """Return the scores of a bucket, and the gains over the base, by rule and metric."""
    kinds = list(dict.fromkeys((rule, metric) for axis, _, rule, metric in own if axis == AXIS))
    means = [_mean(own, directions, kind) for kind in kinds]
    scores: Row = {}
    for (rule, metric), interval in zip(kinds, mean_intervals(means), strict=True):
        scores.setdefault(rule, {})[metric] = told(interval)
    if base is None:
        return {"scores": scores, "gains": None}
    others = [_mean(base, directions, kind) for kind in kinds]
    gains: Row = {}
    for (rule, metric), gain in zip(
        kinds, differences(list(zip(means, others, strict=True))), strict=True
    ):
        gains.setdefault(rule, {})[metric] = told_difference(gain)
    return {"scores": scores, "gains": gains}


def _mean(groups: Groups, directions: Sequence[str], kind: tuple[str, str]) -> System:
    return mean_system([groups[AXIS, one, *kind] for one in directions])


def _each(row: Row, own: Groups, base: Groups) -> Row:
    """Return the headline's gain of every direction, by the two rules that stand side by side."""
    found = {}
    for rule in shown_rules(row):
        gains = direction_gains(own, base, rule=rule, metric=headline(row))
        found[rule] = {
            one: told_difference(gain) for one, gain in zip(gains.names, gains.found, strict=True)
        }
    return found
