"""Baselines that a suite takes from a sweep: what won on dev, with what the search for it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ksl_bench.config import Suite

Stored = Callable[[str], Mapping[str, Any] | None]
"""Returns what the store has of a sweep by its name."""


def take_winners(
    listed: Mapping[str, Any], where: str, stored: Stored | None, problems: list[str]
) -> dict[str, dict[str, Any]]:
    """Return the winners of a sweep as entries of a suite, with the sources of their tickets.

    Args:
        listed: `{from_sweep: NAME}`, perhaps with `baselines: [...]` for some of them only.
        where: Its path in the suite.
        stored: Looks up a sweep; None where there is no store.
        problems: Takes what is wrong.
    """
    name, unknown = listed.get("from_sweep"), sorted(listed.keys() - {"from_sweep", "baselines"})
    if unknown or not isinstance(name, str):
        problems.append(f"{where}: must be from_sweep: NAME and perhaps baselines, got {listed!r}")
        return {}
    plan = stored(name) if stored is not None else None
    if plan is None or "budgets" not in plan.get("sweep", {}):
        problems.append(
            f"{where}.from_sweep: nothing is stored of sweep {name!r}; first: ksl-bench sweep {name}"
        )
        return {}
    sweep = plan["sweep"]
    if not sweep.get("ended", True):
        problems.append(
            f"{where}.from_sweep: sweep {name!r} is under way or was cut off; first: ksl-bench sweep {name}"
        )
        return {}
    known = {one["name"]: one for one in plan["suite"]["baselines"]}
    texts = sorted({splits["dev"]["digest"] for splits in plan["data"].values()})
    entries: dict[str, dict[str, Any]] = {}
    for owner in listed.get("baselines", list(sweep["space"]["baselines"])):
        if owner not in sweep["winners"]:
            there = ", ".join(sweep["winners"])
            problems.append(
                f"{where}.baselines: sweep {name!r} has no winner of {owner!r}; it has {there}"
            )
            continue
        winner = known[sweep["winners"][owner]]
        source = (winner.get("ticket") or {}).get("from")
        if source is not None:
            entries.setdefault(source, _entry(known[source]))
        entries[winner["name"]] = {
            **_entry(winner),
            "search": {
                "space": name,
                "seeds": sweep["space"]["seeds"],
                "texts": texts,
                **sweep["budgets"][owner],
            },
        }
    return entries


def _entry(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored baseline as a suite lists it: without what is not given, its own fields in place."""
    plain = {field: value for field, value in stored.items() if value is not None}
    own, steps = plain.pop("hyperparameters"), plain.pop("by_step", ())
    train = {field: value for field, value in plain["train"].items() if value is not None}
    if steps:
        plain["by_step"] = [_entry(one) for one in steps]
    return {**plain, "train": train, **own}


def stale_choices(suite: Suite) -> list[str]:
    """Return why a suite would test choices on what they were chosen on; a line each."""
    problems = []
    for one in suite.baselines:
        if one.search is None:
            continue
        used = sorted(set(suite.seeds) & set(one.search.seeds))
        if used:
            problems.append(
                f"seeds: {', '.join(map(str, used))} chose {one.name} in sweep {one.search.space!r}; a "
                "test of it needs fresh ones"
            )
        if suite.evaluate.split == "dev":
            problems.append(
                f"evaluate.split: dev chose {one.name} in sweep {one.search.space!r}; must be devtest"
            )
    return problems
