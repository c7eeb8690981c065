"""A verdict: one answer in words with the numbers behind it; and the rows that are compared for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.comparable import Terms, apart, missing_of
from ksl_bench.leaderboard.gains import Systems, headline, told_difference
from ksl_bench.significance.intervals import Difference, differences

Row = dict[str, Any]

UNITS = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "accuracy": "points of accuracy",
    "macro_f1": "points of macro-F1",
    "auc": "points of AUC",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer."""

    question: str
    """replaces, controls, chance, termination, smallest, transfer, certificate, forgetting, disjoint,
    sequence or directions."""
    condition: str
    """That the rows were scored under."""
    baseline: str
    against: tuple[str, ...]
    rule: str
    """The extraction rule that was read."""
    verdict: str
    brief: str
    """A clause whose subject is the baseline."""
    text: str
    """A whole sentence, without its full stop."""
    comparisons: tuple[Row, ...] = field(default=())
    """The numbers behind it, one for each in `against` that can be compared."""

    def as_dict(self) -> Row:
        """Return plain values for JSON."""
        return {
            **asdict(self),
            "against": list(self.against),
            "comparisons": list(self.comparisons),
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """The rows of one condition, with what compares them."""

    condition: str
    rows: Sequence[Row]
    systems: Sequence[Systems | None]
    terms: Sequence[Terms | None]
    spec: VerdictSpec

    def scored(self) -> Iterator[int]:
        """Yield the places of rows with a score that were tuned where they are scored."""
        for place, (row, systems) in enumerate(zip(self.rows, self.systems, strict=True)):
            home = row["probe"] is None and row["condition"] == self.condition
            if systems is not None and home:
                yield place

    def tickets(self, method: str) -> list[int]:
        """Return the places of KS tickets under a method, by size."""
        places = [
            place
            for place in self.scored()
            if self.rows[place]["method"] == method and self.rows[place]["criterion"] == "ks"
        ]
        return sorted(places, key=self.size)

    def size(self, place: int) -> int:
        """Return how many rows the ticket of a row has, 0 without one."""
        return int(max(self.rows[place]["ticket_sizes"] or [0]))

    def of_method(self, *methods: str) -> list[int]:
        """Return the places of rows of some methods."""
        return [place for place in self.scored() if self.rows[place]["method"] in methods]

    def apart(self, one: int, two: int) -> str | None:
        """Return why two scored rows cannot be judged against each other; None where they can."""
        first, second = self.terms[one], self.terms[two]
        assert first is not None
        assert second is not None
        return apart(first, second)

    def missing(self, *places: int) -> str | None:
        """Return how many seeds of some rows finished, and what became of the others; None where all did."""
        return missing_of(*(self.rows[place] for place in places))

    def compare(self, pairs: Sequence[tuple[int, int]], rule: str) -> list[Difference | None]:
        """Return the differences of pairs of places on the headline metric; None where rows are apart."""
        metric = headline(self.rows[pairs[0][0]]) if pairs else ""
        alike = [pair for pair in pairs if self.apart(*pair) is None]
        systems = []
        for one, two in alike:
            first, second = self.systems[one], self.systems[two]
            assert first is not None
            assert second is not None
            systems.append((first[rule, metric], second[rule, metric]))
        found = dict(zip(alike, differences(systems), strict=True))
        return [found.get(pair) for pair in pairs]

    def name(self, place: int) -> str:
        """Return the baseline of a row."""
        return str(self.rows[place]["baseline"])

    def score(self, place: int, rule: str, seeds: Sequence[int] = ()) -> float:
        """Return the headline score of a row: over some seeds where it has them, else over all of its own."""
        row = self.rows[place]
        score = row["scores"][rule][headline(row)]
        some = [score["by_seed"].get(str(seed)) for seed in seeds]
        return float(score["value"] if None in some or not some else mean(some))

    def rules(self) -> tuple[str, ...]:
        """Return the rule of the suite's verdicts, then the raw output."""
        known: Row = next((row["scores"] for row in self.rows if row["scores"]), {})
        plain = next(iter(known), self.spec.rule)
        return tuple(rule for rule in dict.fromkeys([self.spec.rule, plain]) if rule in known)


def make_verdict(
    board: Compared,
    question: str,
    place: int,
    others: Sequence[int],
    rule: str,
    verdict: str,
    brief: str,
    text: str,
    found: Sequence[Difference | Row],
    adjusted: Sequence[float | None] | None = None,
) -> Verdict:
    """Make a verdict on the row at a place, with the differences, or numbers as told, that are behind it."""
    comparisons = [one if isinstance(one, dict) else told_difference(one) for one in found]
    if adjusted is not None:
        comparisons = [
            {**one, "adjusted_p_value": p} for one, p in zip(comparisons, adjusted, strict=True)
        ]
    return Verdict(
        question=question,
        condition=board.condition,
        baseline=board.name(place),
        against=tuple(board.name(other) for other in others),
        rule=rule,
        verdict=verdict,
        brief=brief,
        text=text,
        comparisons=tuple(comparisons),
    )


def not_comparable(board: Compared, question: str, place: int, other: int, rule: str) -> Verdict:
    """Say why the row at a place is not judged against another."""
    brief = f"not comparable with {board.name(other)}: {board.apart(place, other)}"
    text = f"{board.name(place)} is {brief}"
    return make_verdict(board, question, place, (other,), rule, "not_comparable", brief, text, ())


def unit(row: Row) -> str:
    """Return the name of the points that a row is scored in."""
    metric = headline(row)
    return UNITS.get(metric, metric)


def told_gap(found: Difference) -> str:
    """Return a difference with its interval, in words."""
    return told_number(told_difference(found))


def told_number(number: Row) -> str:
    """Return a number that has an interval, in words."""
    return f"{number['value']:+.1f} [{number['low']:+.1f}, {number['high']:+.1f}]"


def claim(*found: Difference) -> str:
    """Return what limits the claim of some differences."""
    return one_seed(*(told_difference(one) for one in found))


def one_seed(*numbers: Row) -> str:
    """Return what limits the claim of some numbers."""
    alone = any(one["speaks_of"] == "sentences" for one in numbers)
    return "; one seed, so of these trained models only" if alone else ""
