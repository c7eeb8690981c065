"""Two results of one suite, of two storages or dates: what changed, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.board import plan_of, read_conditions
from ksl_bench.leaderboard.comparable import missing_of
from ksl_bench.leaderboard.gains import headline, shown_rules, told_difference
from ksl_bench.leaderboard.places import Place
from ksl_bench.leaderboard.rows import Row
from ksl_bench.significance.intervals import ALPHA, Difference, differences
from ksl_bench.significance.ranks import holm
from ksl_bench.significance.resampling import System
from ksl_bench.store import Store


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two results."""

    store: Store
    suite: str
    at: str | None = None
    """Stamp of an earlier plan; the last one where none is given."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row on both sides."""

    baseline: str
    condition: str
    scored_under: str
    kind: str
    """same, not_shown, better, worse, not_comparable, appeared, gone, broke or mended."""
    before: float | None
    after: float | None
    difference: Row | None
    """After less before, with interval, p and `adjusted_p_value`; None where they cannot be compared."""
    cost: dict[str, float | None]
    """After over before: device-hours, peak memory."""
    note: str = ""
    whole: bool = True
    """Whether all seeds of both sides finished: those that are left show no loss."""

    def loses(self, bound: float) -> bool:
        """Tell whether it is a regression: a loss of more than the bound beyond chance, or a result gone."""
        if self.kind in ("gone", "broke"):
            return True
        return self.whole and self.difference is not None and self.difference["high"] < -bound


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows of both sides, and what else differs."""

    metric: str
    rule: str
    changes: list[Change]
    settings: list[str]
    """A line for every field of the suite, model or data that is not the same."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of one side, with what its headline score is compared by."""

    row: Row
    system: System | None
    text: str


def compare(before: Side, after: Side) -> Comparison:
    """Compare two results of a suite on the headline metric, under the rule of its verdicts.

    Where both have the same text, the sentences are paired, and so are the seeds that both have.
    p values are corrected for the number of rows (Holm).

    Raises:
        StorageError: If one side has nothing of the suite.
    """
    plans = [plan_of(side.store, side.suite, side.at) for side in (before, after)]
    rule = VerdictSpec(**plans[1]["suite"].get("verdicts", {})).rule
    sides = [
        _known(side.store, plan, rule) for side, plan in zip((before, after), plans, strict=True)
    ]
    places = list(dict.fromkeys([*sides[0], *sides[1]]))
    pairs = [(place, sides[0].get(place), sides[1].get(place)) for place in places]
    gaps = dict(_gaps(pairs))
    adjusted = dict(zip(gaps, holm([one.guarded_p_value for one in gaps.values()]), strict=True))
    changes = [
        _change(place, one, two, rule, gaps.get(place), adjusted.get(place))
        for place, one, two in pairs
    ]
    metrics = [headline(one.row) for side in sides for one in side.values() if one.row["scores"]]
    return Comparison(metrics[0] if metrics else "", rule, changes, _settings(*plans))


def _known(store: Store, plan: Mapping[str, Any], rule: str) -> dict[Place, _Known]:
    known = {}
    for one in read_conditions(store, plan):
        for place, row, systems, terms in zip(
            one.places, one.rows, one.systems, one.terms, strict=True
        ):
            system = systems[rule, headline(row)] if systems else None
            text = dict(terms)["text"] if terms else ""
            known[place] = _Known(row, system, text)
    return known


def _gaps(
    pairs: Sequence[tuple[Place, _Known | None, _Known | None]],
) -> Iterator[tuple[Place, Difference]]:
    places, systems = [], []
    for place, one, two in pairs:
        if one and two and one.system and two.system and _comparable(one, two):
            places.append(place)
            systems.append((two.system, one.system))
    return zip(places, differences(systems), strict=True)


def _comparable(one: _Known, two: _Known) -> bool:
    same_draw = (
        one.system is not None and two.system is not None and one.system.draw == two.system.draw
    )
    return same_draw and one.text == two.text and _signature(one) == _signature(two)


def _signature(one: _Known) -> str:
    return str(one.row["scores"][shown_rules(one.row)[0]][headline(one.row)]["signature"])


def _change(
    place: Place,
    one: _Known | None,
    two: _Known | None,
    rule: str,
    gap: Difference | None,
    adjusted: float | None,
) -> Change:
    condition, baseline, scored_under = place
    kind, note = _kind(one, two, gap, adjusted)
    told = None if gap is None else {**told_difference(gap), "adjusted_p_value": adjusted}
    cost = {
        name: _ratio(one, two, field)
        for name, field in (
            ("device_hours", "total_device_hours"),
            ("peak_memory", "peak_memory_bytes"),
        )
    }
    return Change(
        baseline,
        condition,
        scored_under,
        kind,
        _score(one, rule),
        _score(two, rule),
        told,
        cost,
        note,
        _missing(one, two) is None,
    )


def _kind(
    one: _Known | None, two: _Known | None, gap: Difference | None, adjusted: float | None
) -> tuple[str, str]:
    if one is None or two is None:
        return ("appeared", "") if one is None else ("gone", "")
    done = one.row["status"] == "finished", two.row["status"] == "finished"
    if done == (True, False) or _lost_seeds(one, two):
        return "broke", f"{two.row['status']}: {two.row['reason'] or ''}".rstrip(": ")
    if done == (False, True):
        return "mended", f"was {one.row['status']}"
    if gap is None:
        both = one.row["scores"] is not None and two.row["scores"] is not None
        return "not_comparable", "other text, resamples or signature" if both else "no score"
    missing = _missing(one, two)
    if gap.interval.value == 0 and gap.interval.standard_error == 0:
        return "same", missing or ""
    if missing is not None:
        return "not_shown", missing
    if adjusted is not None and adjusted < ALPHA:
        return ("better" if gap.interval.value > 0 else "worse"), ""
    return "not_shown", ""


def _missing(one: _Known | None, two: _Known | None) -> str | None:
    """Return which seeds of either side came to nothing; None where none did."""
    return missing_of(*(each.row for each in (one, two) if each))


def _lost_seeds(one: _Known, two: _Known) -> bool:
    """Tell whether a seed finished before, and came to nothing after."""
    return any(str(seed) in two.row["unfinished_seeds"] for seed in one.row["finished_seeds"])


def _score(one: _Known | None, rule: str) -> float | None:
    if one is None or one.row["scores"] is None:
        return None
    return float(one.row["scores"][rule][headline(one.row)]["value"])


def _ratio(one: _Known | None, two: _Known | None, field: str) -> float | None:
    costs = [each.row["cost"] if each else None for each in (one, two)]
    if costs[0] is None or costs[1] is None or not costs[0][field]:
        return None
    return float(costs[1][field] / costs[0][field])


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what the two plans say differently, a line a field."""
    sides = []
    for plan in (before, after):
        suite = {name: value for name, value in plan["suite"].items() if name != "baselines"}
        recipes = {one["name"]: one for one in plan["suite"]["baselines"]}
        whole = {"suite": suite, "model": plan["model"], "data": plan["data"], "baselines": recipes}
        sides.append(dict(_leaves(whole)))
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [
        f"{name.removeprefix('suite.')}: {sides[0].get(name)} -> {sides[1].get(name)}"
        for name in names
        if sides[0].get(name) != sides[1].get(name)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}" if path else str(name))
    else:
        yield path, value
