"""Ranks of the rows of one condition: shared where chance may have made the difference.

Rows stand in one ranking only if they were tuned and scored alike: the same budget (of steps and data),
search, precision, text and signature. What trains nothing may stand in any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksl_bench.leaderboard.comparable import Terms
from ksl_bench.leaderboard.gains import Systems, headline, shown_rules
from ksl_bench.significance.power import minimum_detectable_difference
from ksl_bench.significance.ranks import Ranking, rank_systems

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows that are ranked together."""

    places: tuple[int, ...]
    """Of the rows, in the order of the board."""
    terms: Terms
    ranking: Ranking
    detectable: float | None
    """The difference that one planned comparison of two such rows finds with 80 % power."""


def terms_of(row: Row, recipe: Mapping[str, Any], result: Mapping[str, Any]) -> Terms:
    """Return what a row must share with those that it is ranked with; `recipe` is what ran there."""
    train, search = recipe["train"], recipe.get("search")
    batch = f"{train['global_batch_size']} examples"
    length = f"{train['steps']} steps" if train["steps"] else f"{train['epochs']:g} epochs"
    share = train.get("data_share", 1.0)
    part = f" of {100 * share:g} % of the data" if share < 1 else ""
    trains = row["trains"]
    draw = result["draw"]
    return (
        ("budget", f"{length} of {batch}{part}" if trains else ""),
        ("search", f"{search['trials']} choices on dev" if search else "none" if trains else ""),
        ("precision", train["precision"]),
        ("text", f"{result['data']['digest'][:12]}, {draw['groups']} {draw['unit']}"),
        ("signature", result["scores"][shown_rules(row)[0]][headline(row)]["signature"]),
    )


def rank_rows(
    rows: Sequence[Row],
    terms: Sequence[Terms | None],
    systems: Sequence[Systems | None],
    *,
    rule: str,
) -> list[Ranked]:
    """Rank the rows of one condition; add `ranking` to every one of them.

    Args:
        rows: Scored under one condition.
        terms: Of each; None where it has no score.
        systems: Of each; None where it has no score.
        rule: Under which the headline metric is ranked.
    """
    for row in rows:
        row["ranking"] = {"rule": rule, "best": None, "worst": None, "of": None} | {
            "group": None,
            "not_ranked": _obstacle(row),
        }
    ready = [place for place, row in enumerate(rows) if row["ranking"]["not_ranked"] is None]
    groups = []
    for number, (alike, places) in enumerate(_grouped(ready, terms).items()):
        chosen = [_system(rows[place], systems[place], rule) for place in places]
        ranking = rank_systems(chosen)
        gaps = [pair.difference.interval for pair in ranking.pairs]
        detectable = minimum_detectable_difference(gaps) if gaps else None
        groups.append(Ranked(tuple(places), alike, ranking, detectable))
        for place, rank in zip(places, ranking.ranks, strict=True):
            rows[place]["ranking"] |= {
                "best": rank.best,
                "worst": rank.worst,
                "of": len(places),
                "group": number,
                "terms": dict(alike),
                "speaks_of": ranking.speaks_of,
                "detectable_difference": detectable,
            }
    return groups


def _system(row: Row, systems: Systems | None, rule: str) -> Any:
    assert systems is not None
    return systems[rule, headline(row)]


def _obstacle(row: Row) -> str | None:
    if row["probe"] is not None:
        return "a probe of another row"
    if row["scored_under"] != row["condition"]:
        return "tuned under another condition"
    if row["status"] != "finished":
        return f"{len(row['finished_seeds'])} of {len(row['seeds'])} seeds finished"
    return None


def _grouped(places: Sequence[int], terms: Sequence[Terms | None]) -> dict[Terms, list[int]]:
    """Return places by terms, the most common terms first; what trains nothing joins where it fits."""
    known = {place: one for place in places if (one := terms[place]) is not None}
    trained = Counter(one for one in known.values() if _trains(one))
    common = [one for one, _ in trained.most_common()]
    joined: dict[Terms, list[int]] = {one: [] for one in common}
    for place, one in known.items():
        fitting = next((other for other in common if _fits(one, other)), one)
        joined.setdefault(fitting, []).append(place)
    return {one: here for one, here in joined.items() if here}


def _trains(terms: Terms) -> bool:
    return bool(dict(terms)["budget"])


def _fits(one: Terms, other: Terms) -> bool:
    return all(a == b or not a for (_, a), (_, b) in zip(one, other, strict=True))


def notes(groups: Sequence[Ranked], rows: Sequence[Row]) -> list[str]:
    """Return a line for every group but the largest: who is not ranked with it, and why."""
    if len(groups) < 2:
        return []
    first = groups[0]
    lines = []
    for group in groups[1:]:
        names = ", ".join(rows[place]["baseline"] for place in group.places)
        differing = [
            f"{name} {own or 'none'}, not {other}"
            for (name, own), (_, other) in zip(group.terms, first.terms, strict=True)
            if own != other
        ]
        lines.append(f"ranked apart: {names}: {'; '.join(differing)}")
    return lines
