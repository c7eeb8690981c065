"""Write the results that stand in README.md and docs/ from the stored boards in docs/results/.

    ksl-bench leaderboard quickstart --format json > docs/results/quickstart.json    # after a run
    make tables                                                                      # write
    python docs/tables.py --check                                                    # exit 1 where stale

A table stands between `<!-- table: KIND SUITE ... -->` and `<!-- end of table -->`; for numbers in sentences
see values.py.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import simulations
import values

from ksl_bench.leaderboard.direction_tables import direction_sections
from ksl_bench.leaderboard.steps import HEADS, StepLine, step_lines
from ksl_bench.leaderboard.tables import Section, human_count, sections

ROOT = Path(__file__).resolve().parents[1]
FILES = tuple(
    str(one.relative_to(ROOT))
    for one in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "<!-- table: " in one.read_text(encoding="utf-8")
)
"""All pages with tables."""
BLOCK = re.compile(r"(<!-- table: (.*?) -->\n).*?(\n<!-- end of table -->)", re.S)

Row = dict[str, Any]

PICKED_BY = {
    "ks": "**KS test**",
    "l2": "length of the change",
    "cosine": "angle of the change",
    "gradient": "gradient, nothing tuned",
    "frequency": "frequency",
    "frequency_matched": "as frequent as the KS rows",
    "random": "chance",
    "ks_without_template": "KS test, prompt tokens left out",
}


def board(rows: list[Row], *conditions: str) -> Iterator[str]:
    """Yield all rows as the terminal shows them, of some conditions or of all."""
    shown = [row for row in rows if not conditions or row["condition"] in conditions]
    for section in sections(shown):
        yield from _section(section)


def directions(rows: list[Row]) -> Iterator[str]:
    """Yield what is told of the buckets of directions; a table of nothing but zeros is left out."""
    for section in direction_sections(rows):
        numbers = [one for line in section.lines for one in line.cells("half_width")[1:]]
        if any(float(one.split("±")[0]) for one in numbers if one):
            yield from _section(section)


def heat(rows: list[Row], baseline: str, rule: str) -> Iterator[str]:
    """Yield a row's score in every direction, in brackets its gain over the base."""
    row = next(one for one in rows if one["baseline"] == baseline)
    scores = {name: by[rule]["bleu"]["value"] for name, by in row["by_group"]["direction"].items()}
    gains = (row["directions"]["gains"] or {}).get(rule, {})
    sources = list(dict.fromkeys(name.split("-")[0] for name in scores))
    targets = sorted({name.split("-")[1] for name in scores}, key=sources.index)

    def cell(name: str) -> str:
        if name not in scores:
            return ""
        gain = f" ({gains[name]['value']:+.1f})" if name in gains else ""
        return f"{scores[name]:.1f}{gain}"

    yield from _table(
        ["from \\ into", *targets],
        ([source, *(cell(f"{source}-{one}") for one in targets)] for source in sources),
    )


def _section(section: Section) -> Iterator[str]:
    if section.title:
        yield from (f"**{section.title.removeprefix(', ')}**", "")
    columns = [name.replace("\n", " ") for name in section.columns]
    yield from _table(columns, (line.cells("half_width") for line in section.lines))
    yield ""


def gains(rows: list[Row], rule: str) -> Iterator[str]:
    """Yield the gain over the base by what picked the rows, for every prompt and size."""
    home = [row for row in rows if row["condition"] == row["scored_under"]]
    conditions = list(dict.fromkeys(row["condition"] for row in home))
    sizes = sorted({row["k"] for row in home if row["k"]})
    places = [(condition, k) for condition in conditions for k in sizes]
    head = ["rows picked by", *(f"{condition}, k={k}" for condition, k in places)]
    lines = []
    for criterion, name in PICKED_BY.items():
        found = {
            (row["condition"], row["k"]): row
            for row in home
            if row["criterion"] == criterion and row["probe"] is None
        }
        lines.append([name, *(_gain(found.get(place), rule) for place in places)])
    probes = {
        (row["condition"], row["k"]): row
        for row in home
        if row["probe"] and row["probe"]["change"] == "random"
    }
    lines.append(["KS rows, change made random", *(_gain(probes.get(one), rule) for one in places)])
    yield from _table(head, lines)
    yield ""
    others = [row for row in home if row["k"] is None and row["trains"] and row["probe"] is None]
    names = list(dict.fromkeys(row["baseline"] for row in others))
    by_place = {(row["baseline"], row["condition"]): row for row in others}
    yield from _table(
        ["for comparison", "parameters", *conditions],
        (
            [
                name,
                human_count(by_place[name, conditions[0]]["trainable_parameters"]),
                *(_gain(by_place.get((name, condition)), rule) for condition in conditions),
            ]
            for name in names
        ),
    )


def rates(rows: list[Row]) -> Iterator[str]:
    """Yield the scores of every learning rate that a sweep tried; the best raw one of a method in bold."""
    tried: dict[str, dict[float, Row]] = {}
    for row in rows:
        method, _, rate = row["baseline"].partition(".learning_rate-")
        if rate:  # the others are what tickets were found in
            tried.setdefault(method, {})[float(rate)] = row["scores"]
    lines = []
    for method, by_rate in tried.items():
        best = max(by_rate, key=lambda rate: by_rate[rate]["raw"]["bleu"]["value"])
        for place, (rate, scores) in enumerate(sorted(by_rate.items())):
            numbers = (f"{scores[rule]['bleu']['value']:.1f}" for rule in ("raw", "first_line"))
            named = f"**{rate:g}**" if rate == best else f"{rate:g}"
            lines.append(["" if place else method, named, *numbers])
    yield from _table(["method", "rate", "raw", "first line"], lines)


def groups(rows: list[Row], rule: str, metric: str, *axes: str) -> Iterator[str]:
    """Yield a metric over all examples and over every group of some axes, by row."""
    places = [
        (axis, group)
        for axis in axes
        for group in sorted({g for row in rows for g in row["by_group"][axis]})
    ]
    found = [
        [row["scores"][rule][metric], *(row["by_group"][a][g][rule][metric] for a, g in places)]
        for row in rows
    ]
    lines = (
        [
            row["baseline"],
            *(f"{one['value']:.1f}±{(one['high'] - one['low']) / 2:.1f}" for one in line),
        ]
        for row, line in zip(rows, found, strict=True)
    )
    yield from _table(["baseline", "all", *(group for _, group in places)], lines)


def steps(rows: list[Row]) -> Iterator[str]:
    """Yield the matrix of a sequence: a line a step, the score on every task."""
    lines = list(step_lines(rows))
    head = ["baseline", "after", *lines[0].tasks]
    yield from _table(
        head, (line.cells("interval")[: len(head)] for line in lines if not _merged(line))
    )


def kept(rows: list[Row]) -> Iterator[str]:
    """Yield what each baseline of a sequence keeps in the end, and every merge, with whole intervals."""
    lines = [line for line in step_lines(rows) if line.row["sequence"].get("mean")]
    measures = [name.replace("-\n", "").replace("\n", " ") for name in HEADS]
    head = ["baseline", "parameters a task", *lines[0].tasks, *measures]
    yield from _table(
        head,
        (
            [
                line.row["baseline"],
                _count_a_task(line),
                *(
                    number.split(" ")[0]
                    for number in line.cells("interval")[2 : 2 + len(line.tasks)]
                ),
                *line.cells("interval")[2 + len(line.tasks) :],
            ]
            for line in lines
        ),
    )


def _merged(line: StepLine) -> bool:
    return bool(line.row["sequence"]["merged"])


def _count_a_task(line: StepLine) -> str:
    trained = line.row["trainable_parameters"]
    return human_count(trained / len(line.tasks) if _merged(line) else trained)


def verdicts(rows: list[Row], condition: str, *questions: str) -> Iterator[str]:
    """Yield the verdicts on the rows of a condition, under the rule that they are bound to."""
    for row in rows:
        if row["scored_under"] != condition:
            continue
        for one in row["verdicts"]:
            bound = one["rule"] == row["ranking"]["rule"] or one["question"] == "termination"
            if bound and one["question"] in questions:
                yield f"- {one['text']}."


def _gain(row: Row | None, rule: str) -> str:
    if row is None or row["gains"] is None:
        return ""
    gain = row["gains"][rule]["bleu"]
    return f"{gain['value']:.1f} [{gain['low']:.1f}, {gain['high']:.1f}]"


def _table(head: list[str], lines: Any) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---:" if i else "---" for i in range(len(head))) + "|"
    for cells in lines:
        yield "| " + " | ".join(cells) + " |"


KINDS: dict[str, Callable[..., Iterator[str]]] = {
    "board": board,
    "directions": directions,
    "heat": heat,
    "gains": gains,
    "groups": groups,
    "rates": rates,
    "steps": steps,
    "kept": kept,
    "verdicts": verdicts,
    "coverage": simulations.coverage,
    "families": simulations.families,
    "summary": simulations.summary,
    "lota_memory": simulations.lota_memory,
    "language_id": simulations.language_id,
    "language_id_errors": simulations.language_id_errors,
}


@cache
def stored(name: str) -> Any:
    """Return a stored board, or what a simulation measured.

    Rows of a board from before rows named their task are of translations.
    """
    content = json.loads((ROOT / f"docs/results/{name}.json").read_bytes())
    if isinstance(content, dict):
        return content
    return [{"task": "translation", **row} for row in content]


def renewed(text: str) -> str:
    """Return a page with its tables and values as the stored boards have them."""

    def block(match: re.Match[str]) -> str:
        kind, suite, *rest = match[2].split()
        lines = "\n".join(KINDS[kind](stored(suite), *rest)).rstrip("\n")
        return f"{match[1]}\n{lines}\n{match[3]}"

    def value(match: re.Match[str]) -> str:
        suite, *rest = match[2].split()
        return f"{match[1]}{values.told(stored(suite), *rest)}{match[3]}"

    return values.VALUE.sub(value, BLOCK.sub(block, text))


def main() -> int:
    """Write the tables, or tell which page is stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where stale")
    options = parser.parse_args()
    stale = []
    for name in FILES:
        old = (ROOT / name).read_text(encoding="utf-8")
        if (new := renewed(old)) != old:
            stale.append(name)
            if not options.check:
                (ROOT / name).write_text(new, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'stale, run make tables' if options.check else 'written'}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
