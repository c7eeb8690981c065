"""Many directions on a leaderboard: buckets by what was tuned on, and gains direction by direction.

A direction is

- `supervised`, if it was tuned on;
- `zero_shot_pair`, if its source was tuned on as a source and its target as a target, but never together;
- `zero_shot_source`, if its source was never a source; `zero_shot_target`, if its target was never a target;
- `zero_shot_both`, if neither was.

Besides, it has English on one side or not. The score of a bucket is the plain mean of its directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksl_bench.leaderboard.gains import headline, is_base, shown_rules, told, told_difference
from ksl_bench.leaderboard.runs import Group
from ksl_bench.significance.intervals import Difference, differences, mean_intervals
from ksl_bench.significance.resampling import System
from ksl_bench.tasks.readings import DIRECTION

Row = dict[str, Any]
Groups = Mapping[Group, System]

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
    names = tuple(
        group for axis, group, *rest in own if axis == DIRECTION and rest == [rule, metric]
    )
    pairs = [
        (own[DIRECTION, one, rule, metric], base[DIRECTION, one, rule, metric]) for one in names
    ]
    return Gains(names, tuple(differences(pairs)))


def bucket_gains(
    own: Groups, base: Groups, buckets: Mapping[str, Sequence[str]], *, rule: str, metric: str
) -> Gains:
    """Return what a row gained over the base in the mean of every bucket."""
    kind = (rule, metric)
    pairs = [(_mean(own, some, kind), _mean(base, some, kind)) for some in buckets.values()]
    return Gains(tuple(buckets), tuple(differences(pairs)))


def mean_system(systems: Sequence[System]) -> System:
    """Return the mean of systems that were scored on the same draw under the same seeds.

    Where they have not as many examples, it is as sure as that of the fewest.
    """
    return System(
        systems[0].seeds,
        np.mean([one.scores_R for one in systems], axis=0),
        np.mean([one.resampled_BR for one in systems], axis=0),
        min((one.draw for one in systems), key=lambda draw: draw.groups),
    )


def tuned_on_of(row: Row, spec_of: Callable[[str], Mapping[str, Any]]) -> list[str]:
    """Return the directions that a row was tuned on: under its condition, or in a sequence up to its step.

    Args:
        row: With its `sequence`.
        spec_of: From a condition to its task, as the plan has it.
    """
    where = row.get("sequence")
    conditions = where["tasks"][: where["step"]] if where else [row["condition"]]
    found: dict[str, None] = {}
    for spec in map(spec_of, conditions):
        pair = spec.get("source_language"), spec.get("target_language")
        alone = [f"{pair[0]}-{pair[1]}"] if all(pair) else []
        found |= dict.fromkeys(spec.get("tuned_on") or alone)
    return list(found)


def add_directions(
    rows: Sequence[Row],
    groups: Sequence[Groups],
    condition: str,
    spec_of: Callable[[str], Mapping[str, Any]],
) -> None:
    """Add `directions` to rows that were scored under one condition; None where the task has none.

    The directions are those that are scored, their buckets go by what each row was tuned on.

    Args:
        rows: With their scores and gains.
        groups: Of each row; empty where it has none.
        condition: That the rows were scored under.
        spec_of: From a condition to its task, as the plan has it.
    """
    for row in rows:
        row["directions"] = None
    spec = spec_of(condition)
    if spec.get("name") != "directions":
        return
    base = next(
        (own for row, own in zip(rows, groups, strict=True) if own and is_base(row)),
        None,
    )
    for row, own in zip(rows, groups, strict=True):
        if not own:
            continue
        against = None if is_base(row) or row["no_gains"] else base
        tuned_on = tuned_on_of(row, spec_of)
        buckets = buckets_of(spec["directions"], tuned_on)
        row["directions"] = {
            "tuned_on": tuned_on,
            "buckets": {
                name: {"directions": some, **_bucket(some, own, against)}
                for name, some in buckets.items()
            },
            "gains": None if against is None else _each(row, own, against),
        }


def _bucket(directions: Sequence[str], own: Groups, base: Groups | None) -> Row:
    """Return the scores of a bucket, and the gains over the base, by rule and metric."""
    kinds = list(
        dict.fromkeys((rule, metric) for axis, _, rule, metric in own if axis == DIRECTION)
    )
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
    return mean_system([groups[DIRECTION, one, *kind] for one in directions])


def _each(row: Row, own: Groups, base: Groups) -> Row:
    """Return the headline's gain of every direction, by the two rules that stand side by side."""
    found = {}
    for rule in shown_rules(row):
        gains = direction_gains(own, base, rule=rule, metric=headline(row))
        found[rule] = {
            one: told_difference(gain) for one, gain in zip(gains.names, gains.found, strict=True)
        }
    return found
