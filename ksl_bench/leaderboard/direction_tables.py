"""Tables of many directions: the mean of every bucket, what it gained, and what is off target there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ksl_bench.leaderboard.gains import Row, headline, shown_rules
from ksl_bench.leaderboard.numbers import Show, shown
from ksl_bench.leaderboard.tables import Line, Section
from ksl_bench.leaderboard.verdicts import unit
from ksl_bench.tasks.readings import LANGUAGE_METRICS, WHERE

HEADS = {
    "supervised": "supervised",
    "zero_shot_pair": "zero-shot\npair",
    "zero_shot_source": "zero-shot\nsource",
    "zero_shot_target": "zero-shot\ntarget",
    "zero_shot_both": "zero-shot\nboth",
    "english_centric": "with\nEnglish",
    "not_english_centric": "without\nEnglish",
}
WORDS = {"off_target": "in another language, %", "no_language": "in no language, %"}


@dataclass(frozen=True, slots=True)
class Content:
    """What one table tells of every bucket."""

    title: str
    number: Callable[[Row], Row | None]
    """Of a row, over all directions, or of a bucket, which holds its numbers as a row does."""
    signed: bool = False


@dataclass(frozen=True, slots=True)
class BucketLine(Line):
    """One row in a table of buckets."""

    content: Content

    def numbers(self) -> list[Row | None]:
        """Return what stands in the line: over all directions, then of every bucket."""
        buckets = self.row["directions"]["buckets"]
        return [self.content.number(one) for one in (self.row, *buckets.values())]

    def cells(self, show: Show) -> list[str]:
        """Return the line as text."""
        numbers = [
            "" if one is None else shown(one, show, signed=self.content.signed)
            for one in self.numbers()
        ]
        return [self.row["baseline"], *numbers]


def direction_sections(rows: Sequence[Row]) -> Iterator[Section]:
    """Yield the tables of many directions, condition by condition; none where the task has none."""
    known = [row for row in rows if row.get("directions") and row["probe"] is None]
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    for condition in conditions:
        here = [row for row in known if row["condition"] == row["scored_under"] == condition]
        name = f", {condition}" if len(conditions) > 1 else ""
        for content in contents(here[0]) if here else ():
            lines = [BucketLine("result", row, content) for row in here]
            filled = [one for one in lines if any(one.numbers())]
            if filled:
                heads = (
                    "baseline",
                    "all",
                    *(HEADS[one] for one in here[0]["directions"]["buckets"]),
                )
                yield Section(f"{name}, {content.title}", heads, list(filled))


def contents(row: Row) -> Iterator[Content]:
    """Yield what there is to tell: scores and gains of the content, then the language of the hypotheses."""
    rule, metric = shown_rules(row)[1], headline(row)
    yield Content(f"mean {unit(row)} {WHERE[rule]}", _of("scores", rule, metric))
    gain = f"mean gain in {unit(row)} {WHERE[rule]}"
    yield Content(gain, _of("gains", rule, metric), signed=True)
    for name in LANGUAGE_METRICS:
        if name in row["scores"][rule]:
            yield Content(f"{WORDS[name]}, {WHERE[rule]}", _of("scores", rule, name))


def _of(field: str, rule: str, metric: str) -> Callable[[Row], Row | None]:
    def number(holder: Row) -> Row | None:
        found: Row | None = (holder[field] or {}).get(rule, {}).get(metric)
        return found

    return number
