"""Tables by group: the headline score of every language, of every generator, ... of what was scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ksl_bench.leaderboard.gains import Row, headline, shown_rules
from ksl_bench.leaderboard.numbers import Show, shown
from ksl_bench.leaderboard.tables import Line, Section
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.tasks.readings import DIRECTION, WHERE


@dataclass(frozen=True, slots=True)
class GroupLine(Line):
    """One row, group by group."""

    axis: str
    groups: Sequence[str]

    def numbers(self) -> list[Row | None]:
        """Return the headline score of all examples, then of every group."""
        rule, metric = shown_rules(self.row)[1], headline(self.row)
        found = self.row["by_group"].get(self.axis, {})
        parts = [found.get(group, {}).get(rule, {}).get(metric) for group in self.groups]
        return [self.row["scores"][rule][metric], *parts]

    def cells(self, show: Show) -> list[str]:
        """Return the line as text."""
        numbers = ["" if one is None else shown(one, show) for one in self.numbers()]
        return [self.row["baseline"], *numbers]


def group_sections(rows: Sequence[Row]) -> Iterator[Section]:
    """Yield a table for every axis with several groups; directions have tables of their own."""
    conditions = list(dict.fromkeys(row["scored_under"] for row in rows))
    for condition in conditions:
        here = [
            row
            for row in rows
            if row["condition"] == row["scored_under"] == condition
            and row.get("by_group")
            and row["probe"] is None
        ]
        name = f", {condition}" if len(conditions) > 1 else ""
        for axis in dict.fromkeys(axis for row in here for axis in row["by_group"]):
            groups = list(
                dict.fromkeys(group for row in here for group in row["by_group"].get(axis, {}))
            )
            if axis == DIRECTION or len(groups) < 2:
                continue
            first = here[0]
            title = f"{name}, by {axis}: {unit(first)} {WHERE[shown_rules(first)[1]]}"
            lines = [GroupLine("result", row, axis, groups) for row in here]
            yield Section(title, ("baseline", "all", *groups), lines)
