"""What a sequence of tasks keeps: mean score, forgetting, backward transfer, by baseline.

R[t, i] is the score on task i after step t of T. The mean score is that of R[T, .]. Forgetting is, over the
tasks i < T, the mean of max over t < T of R[t, i], less R[T, i] (Chaudhry et al. 2018, arXiv:1801.10112,
section 3.2). Backward transfer is, over the same tasks, the mean of R[T, i] - R[i, i] (Lopez-Paz and Ranzato
2017, arXiv:1706.08840, section 2). All are taken seed by seed and resample by resample, the maximum too, so
that their intervals are those of any other number here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ksl_bench.config import step_name, step_names
from ksl_bench.leaderboard.gains import Row, Systems, headline, told
from ksl_bench.leaderboard.places import Place, place_of
from ksl_bench.significance.intervals import mean_intervals
from ksl_bench.significance.resampling import Draw, System

Cells = Mapping[Place, Systems]
"""What is needed of every row of a sequence or a merge, and of its tasks alone."""

MEASURES = ("mean", "forgetting", "backward_transfer", "over_alone")


def sequence_places(plan: Mapping[str, Any]) -> dict[Place, Row]:
    """Return where each row of a plan stands in its sequence; rows that stand in none are left out.

    Returns:
        `step` of `of`, from 1, `tasks`, and whether it is `merged` rather than tuned.
    """
    suite = plan["suite"]
    tasks = list(suite.get("sequence") or suite.get("conditions") or ())
    recipes = {one["name"]: one for one in suite["baselines"]}
    steps = {name: step for step, name in enumerate(step_names(suite.get("sequence") or ()), 1)}
    last = step_name(tasks)
    members = {
        row["baseline"]
        for row in plan["rows"]
        if row["condition"] == last and (steps or recipes[row["baseline"]].get("merge"))
    }
    return {
        place_of(row): {
            "step": steps.get(row["condition"], len(tasks)),
            "of": len(tasks),
            "tasks": tasks,
            "merged": recipes[row["baseline"]].get("merge") is not None,
        }
        for row in plan["rows"]
        if row["baseline"] in members
        and row["condition"] in (*steps, last)
        and row["scored_under"] in tasks
    }


def recipe_at(recipe: Mapping[str, Any], where: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a baseline as it ran for one row: at the row's step, and alone as at the first.

    Args:
        recipe: As the plan has it, perhaps with what each step is tuned with.
        where: Of the row, as `sequence_places` has it; None of one that stands in no sequence. A merge holds
            the states of all steps; it keeps what is said for them together.
    """
    by_step = recipe.get("by_step")
    if not by_step or (where is not None and where["merged"]):
        return recipe
    own = by_step[0 if where is None else where["step"] - 1]
    return {**recipe, **own, "by_step": []}


def recipes_of(plan: Mapping[str, Any]) -> dict[Place, Mapping[str, Any]]:
    """Return by place the baseline of every row of a plan, as it runs there; see `recipe_at`."""
    recipes = {one["name"]: one for one in plan["suite"]["baselines"]}
    steps = sequence_places(plan)
    places = dict.fromkeys(place_of(row) for row in plan["rows"])
    return {place: recipe_at(recipes[place[1]], steps.get(place)) for place in places}


def kept_systems(row: Row, systems: Systems | None) -> Systems | None:
    """Return the systems of a row's headline metric, by rule and metric; the rest may be forgotten."""
    if systems is None or row["probe"] is not None or row["scores"] is None:
        return None
    metric = headline(row)
    return {name: one for name, one in systems.items() if name[1] == metric}


def measures_of(
    baseline: str, rule_metric: tuple[str, str], cells: Cells, where: Row, of: str
) -> Row:
    """Return the systems of each measure of one baseline; those that cannot be told are left out.

    Args:
        baseline: Its name.
        rule_metric: Which of its scores.
        cells: Of all rows.
        where: Of its last row, as `sequence_places` has it.
        of: The baseline whose states of each task alone are the reference: itself, unless it is a merge.
    """
    tasks: list[str] = where["tasks"]
    names = [step_name(tasks)] if where["merged"] else list(step_names(tasks))

    def cell(condition: str, name: str, task: str) -> System | None:
        return cells.get((condition, name, task), {}).get(rule_metric)

    matrix = [[cell(step, baseline, task) for task in tasks] for step in names]
    alone = [cell(task, of, task) for task in tasks]
    found: dict[str, System] = {}
    last = matrix[-1]
    if _complete(last):
        found["mean"] = mean_of(last)
    if _complete([*last, *alone]):
        found["over_alone"] = minus(mean_of(last), mean_of(alone))
    if not where["merged"] and _complete([one for line in matrix for one in line]):
        before = range(len(tasks) - 1)
        best = [largest([line[i] for line in matrix[:-1]]) for i in before]
        own = [matrix[i][i] for i in before]
        found["forgetting"] = minus(mean_of(best), mean_of(last[:-1]))
        found["backward_transfer"] = minus(mean_of(last[:-1]), mean_of(own))
    return found


def add_measures(rows: Sequence[Row], cells: Cells) -> dict[tuple[str, str], dict[str, System]]:
    """Add the measures to the last rows of every baseline that stands in a sequence or a merge.

    Returns:
        Their systems, by baseline and rule.
    """
    found: dict[tuple[str, str], dict[str, System]] = {}
    for row in rows:
        where = row["sequence"]
        if where is None or where["step"] != where["of"]:
            continue
        where |= dict.fromkeys(MEASURES)
        if row["scores"] is None:
            continue
        of = row["merge"]["of"] if row["merge"] else row["baseline"]
        for rule in row["scores"]:
            key = row["baseline"], rule
            if key not in found:
                found[key] = measures_of(row["baseline"], (rule, headline(row)), cells, where, of)
            intervals = mean_intervals(list(found[key].values()))
            for name, interval in zip(found[key], intervals, strict=True):
                where[name] = {**(where[name] or {}), rule: told(interval)}
    return found


def _complete(systems: Sequence[System | None]) -> bool:
    """Tell whether all are there, and for the same seeds."""
    return len({None if one is None else one.seeds for one in systems} - {()}) == 1 and all(systems)


def mean_of(systems: Sequence[System | None]) -> System:
    """Return the mean of scores on several tasks, seed by seed and resample by resample.

    Tasks of as many segments are drawn alike, so segments that say the same in several languages are drawn
    together; where they have nothing to do with each other that makes no difference.
    """
    known = [one for one in systems if one is not None]
    scores_R = np.mean([one.scores_R for one in known], axis=0)
    resampled_BR = np.mean([one.resampled_BR for one in known], axis=0)
    return System(known[0].seeds, scores_R, resampled_BR, joint_draw([one.draw for one in known]))


def largest(systems: Sequence[System | None]) -> System:
    """Return the largest of several scores on one task, seed by seed and resample by resample."""
    known = [one for one in systems if one is not None]
    scores_R = np.max([one.scores_R for one in known], axis=0)
    resampled_BR = np.max([one.resampled_BR for one in known], axis=0)
    return System(known[0].seeds, scores_R, resampled_BR, known[0].draw)


def minus(first: System, second: System) -> System:
    """Return a difference as a system of its own."""
    return System(
        first.seeds,
        first.scores_R - second.scores_R,
        first.resampled_BR - second.resampled_BR,
        joint_draw([first.draw, second.draw]),
    )


def joint_draw(draws: Sequence[Draw]) -> Draw:
    """Return the draw of a number over several tasks: theirs if it is one, else one of the fewest groups."""
    if len(set(draws)) == 1:
        return draws[0]
    fewest = min(draws, key=lambda one: one.groups)
    digest = hashlib.sha256(" ".join(sorted({one.digest for one in draws})).encode()).hexdigest()
    return Draw(fewest.resamples, fewest.groups, fewest.unit, digest[:20])
