"""The table of a sequence: a line a step, the score on every task, and what is kept in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ksl_bench.config import step_name, step_names
from ksl_bench.leaderboard.gains import Row, headline
from ksl_bench.leaderboard.numbers import Show, shown
from ksl_bench.leaderboard.sequence import MEASURES

NOTE = (
    "mean: over the tasks, after the last step. forgetting: the best earlier score less the last, mean over "
    "the earlier tasks (Chaudhry et al. 2018). backward transfer: the last score less that right after the "
    "task (Lopez-Paz and Ranzato 2017). over alone: mean less that of states tuned on each task alone."
)
HEADS = ("mean", "forget-\nting", "backward\ntransfer", "over\nalone")


@dataclass(frozen=True, slots=True)
class StepLine:
    """A baseline after one step of a sequence, scored on every task; or a merge."""

    rows: Mapping[str, Row]
    """By task; at least one."""
    tasks: Sequence[str]
    kind: Literal["sequence"] = "sequence"

    @property
    def row(self) -> Row:
        """Return the row of the task that was tuned on last, or the last there is."""
        return list(self.rows.values())[-1]

    @property
    def finished(self) -> bool:
        """Whether all seeds are there, on every task."""
        return all(one["status"] == "finished" for one in self.rows.values())

    @property
    def after(self) -> str:
        """Return what was done last."""
        where = self.row["sequence"]
        return "merged" if where["merged"] else f"{where['step']} {self.tasks[where['step'] - 1]}"

    def scores(self, rule: str) -> list[Row | None]:
        """Return the headline score on every task; None where there is none."""
        rows = [self.rows.get(task) for task in self.tasks]
        return [
            row["scores"][rule][headline(row)] if row is not None and row["scores"] else None
            for row in rows
        ]

    def measures(self, rule: str) -> list[Row | None]:
        """Return what is told of the whole sequence, on its last line."""
        where = self.row["sequence"]
        return [(where.get(name) or {}).get(rule) for name in MEASURES]

    def cells(self, show: Show) -> list[str]:
        """Return the line as text."""
        rule = self.row["ranking"]["rule"]
        numbers = [*self.scores(rule), *self.measures(rule)]
        texts = ["" if one is None else shown(one, show) for one in numbers]
        if not self.finished:
            texts[0] = texts[0] or str(self.row["status"])
        return [self.row["baseline"], self.after, *texts]


def step_lines(rows: Sequence[Row]) -> Iterator[StepLine]:
    """Yield the lines of the table: baselines in their order, each step by step."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.get("sequence") is not None:
            place = row["baseline"], row["condition"]
            found.setdefault(place, {})[row["scored_under"]] = row
    tasks: list[str] = next((row["sequence"]["tasks"] for row in rows if row.get("sequence")), [])
    order = list(dict.fromkeys([*step_names(tasks), step_name(tasks)]))
    for baseline in dict.fromkeys(baseline for baseline, _ in found):
        for condition in order:
            if (baseline, condition) in found:
                yield StepLine(found[baseline, condition], tasks)


def step_columns(lines: Sequence[StepLine]) -> tuple[str, ...]:
    """Return the heads of the table's columns."""
    return ("baseline", "after", *lines[0].tasks, *HEADS)
