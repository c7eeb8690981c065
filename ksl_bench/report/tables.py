"""The tables of a report: results, the bill, what the verdicts rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ksl_bench.leaderboard import Board
from ksl_bench.leaderboard.direction_tables import BucketLine, direction_sections
from ksl_bench.leaderboard.gains import headline, readings_of, shown_rules
from ksl_bench.leaderboard.group_tables import GroupLine, group_sections
from ksl_bench.leaderboard.steps import StepLine
from ksl_bench.leaderboard.tables import Line as Place
from ksl_bench.leaderboard.tables import Section, human_count, rank_text, sections
from ksl_bench.leaderboard.verdicts import Verdict, unit
from ksl_bench.report.cells import (
    Cell,
    Column,
    Line,
    Row,
    Table,
    count,
    interval,
    p_value,
    percent,
    size,
)
from ksl_bench.tasks.readings import WHERE, Readings

Anchors = Mapping[int, str]
"""Where each row is told of, by its id."""

_RANK = "ranks that chance allows"
_EOS = "share of outputs that the model ended by itself"


def result_tables(board: Board, anchors: Anchors) -> Iterator[Table]:
    """Yield a table for every section of the leaderboard."""
    several = len(list(sections(board.rows))) > 1
    for section in sections(board.rows):
        title = section.title.removeprefix(", ") if several else ""
        caption = f"Results: {title}" if title else "Results"
        kind = section.lines[0].kind
        if kind == "sequence":
            yield _sequence_table(board, section, caption)
            continue
        make = _result if kind == "result" else _kept
        columns = _result_columns(board) if kind == "result" else _kept_columns(board, section)
        if not all(line.finished for line in section.lines):
            columns.append(Column("status"))
        lines = [line for line in section.lines if isinstance(line, Place)]
        yield Table(caption, columns, [make(line, anchors, len(columns)) for line in lines])


def _sequence_table(board: Board, section: Section, caption: str) -> Table:
    """Return the table of a sequence: a line a step, the score on every task."""
    points, rule = _points(board), board.spec.rule
    lines = [line for line in section.lines if isinstance(line, StepLine)]
    columns = [
        Column("baseline"),
        Column("after", "the task that was tuned on last"),
        *(Column(f"{task} {points}", "scored on that task") for task in lines[0].tasks),
        Column("mean", "over the tasks"),
        Column("forgetting", "the best earlier score less the last, mean over the earlier tasks"),
        Column("backward transfer", "the last score less that right after the task, mean"),
        Column("over alone", "mean less that of states tuned on each task alone"),
    ]
    made = []
    for line in lines:
        names = [Cell(one, one) for one in (line.row["baseline"], line.after)]
        numbers = [
            *(interval(one) for one in line.scores(rule)),
            *(interval(one, sign=place > 0) for place, one in enumerate(line.measures(rule))),
        ]
        made.append(Line([*names, *numbers], line.finished))
    return Table(f"{caption}, {WHERE.get(rule, rule)}", columns, made)


def part_tables(board: Board, anchors: Anchors) -> Iterator[Table]:
    """Yield the tables of parts of what was scored: groups, and buckets of directions."""
    for section in (*group_sections(board.rows), *direction_sections(board.rows)):
        columns = [Column(one.replace("\n", " ")) for one in section.columns]
        lines = [
            Line([_name(line.row, anchors), *_parts(line)], line.finished)
            for line in section.lines
            if isinstance(line, (GroupLine, BucketLine))
        ]
        yield Table(f"Parts: {section.title.removeprefix(', ')}", columns, lines)


def _parts(line: GroupLine | BucketLine) -> list[Cell]:
    signed = isinstance(line, BucketLine) and line.content.signed
    return [interval(one, sign=signed) for one in line.numbers()]


def _points(board: Board) -> str:
    return next((unit(row) for row in board.rows if row["scores"]), "points")


def _result_columns(board: Board) -> list[Column]:
    points, (plain, content), form = _points(board), _rules(board), _readings(board).form
    share = f"share of the {plain} gain that is {form}; blank where that gain may be less than the margin"
    return [
        Column("baseline"),
        Column("parameters", "that are trained"),
        *_score_columns(board),
        Column(f"gain {plain}", f"{points} over the untuned base"),
        Column(f"gain {content}", f"{points} over the untuned base"),
        Column("rank", f"{_RANK}, {WHERE.get(board.spec.rule, board.spec.rule)}"),
        *([Column("form", share)] if form else []),
        Column("EOS", _EOS),
    ]


def _readings(board: Board) -> Readings:
    return readings_of(board.rows[0])


def _rules(board: Board) -> tuple[str, str]:
    """Return the two rules that stand side by side, as words."""
    plain, content = shown_rules(board.rows[0])
    return plain.replace("_", " "), content.replace("_", " ")


def _score_columns(board: Board) -> list[Column]:
    points = _points(board)
    return [
        Column(f"{words} {points}", WHERE.get(rule, rule))
        for words, rule in zip(_rules(board), shown_rules(board.rows[0]), strict=True)
    ]


def _kept_columns(board: Board, section: Section) -> list[Column]:
    plain, content = _rules(board)
    places = [Column("tuned under"), Column("scored under")]
    return [
        Column("probe" if section.lines[0].kind == "probe" else "baseline"),
        *(places if section.lines[0].kind == "transfer" else []),
        *_score_columns(board),
        Column(f"of the {plain} gain", "share of the other row's gain that is kept"),
        Column(f"of the {content} gain", "share of the other row's gain that is kept"),
        Column("EOS", _EOS),
    ]


def _result(line: Place, anchors: Anchors, width: int) -> Line:
    row = line.row
    name = _name(row, anchors)
    if row["scores"] is None:
        return _unfinished(row, [name], width)
    metric = headline(row)
    gains = [(row["gains"] or {}).get(rule, {}).get(metric) for rule in shown_rules(row)]
    cells = [
        name,
        count(row["trainable_parameters"], human_count(row["trainable_parameters"])),
        *(interval(row["scores"][rule][metric]) for rule in shown_rules(row)),
        *(interval(gain, sign=True) for gain in gains),
        Cell(rank_text(row["ranking"]), row["ranking"]["best"]),
        *([percent(row["termination_share"])] if readings_of(row).form else []),
        percent(row["eos_rate"]),
    ]
    return Line(cells if len(cells) == width else [*cells, _status(row)], line.finished)


def _kept(line: Place, anchors: Anchors, width: int) -> Line:
    row = line.row
    names = [_name(row, anchors)]
    if line.kind == "transfer":
        names += [Cell(row[one], row[one]) for one in ("condition", "scored_under")]
    if row["scores"] is None:
        return _unfinished(row, names, width)
    metric, kept = headline(row), row["recovery"] or {}
    cells = [
        *names,
        *(interval(row["scores"][rule][metric]) for rule in shown_rules(row)),
        *(percent(kept.get(rule)) for rule in shown_rules(row)),
        percent(row["eos_rate"]),
    ]
    return Line(cells if len(cells) == width else [*cells, _status(row)], line.finished)


def _name(row: Row, anchors: Anchors) -> Cell:
    return Cell(row["baseline"], row["baseline"], link=anchors[id(row)])


def _unfinished(row: Row, names: Sequence[Cell], width: int) -> Line:
    said = row["status"] + (f": {row['reason']}" if row["reason"] else "")
    return Line([*names, Cell(said, span=width - len(names))], finished=False)


def _status(row: Row) -> Cell:
    if row["status"] == "finished":
        return Cell("finished", "finished")
    done = f"{len(row['finished_seeds'])} of {len(row['seeds'])} seeds"
    said = f"{done}; {row['status']}" + (f": {row['reason']}" if row["reason"] else "")
    return Cell(said, said)


def bill_table(board: Board, anchors: Anchors) -> Table:
    """Return the whole bill of every row that has one."""
    several = len({row["scored_under"] for row in board.rows}) > 1
    moved = any(row["condition"] != row["scored_under"] for row in board.rows)
    places = [Column("tuned under")] if several or moved else []
    places += [Column("scored under")] if moved else []
    columns = [
        Column("baseline"),
        *places,
        Column("selection s", "seconds to find the ticket, with the tuning that it was found in"),
        Column("train s"),
        Column("evaluation s"),
        Column("search h", "device-hours of the search for its settings"),
        Column("total h", "device-hours of one run, with the search"),
        Column("× full", "device-hours over those of full fine-tuning, both of whole runs"),
        Column("score", "against that of full fine-tuning, as the ranks have it"),
        Column("allocated", "peak memory of a worker, allocated"),
        Column("reserved", "peak memory of a worker, reserved"),
        Column("state", "bytes of what was trained"),
        Column("train tok/s"),
        Column("decode tok/s"),
        Column("money"),
    ]
    lines = []
    for row in board.rows:
        where = [Cell(row[one], row[one]) for one in ("condition", "scored_under")][: len(places)]
        names = [_name(row, anchors), *where]
        lines.append(
            Line([*names, *_costs(row["cost"])], row["status"] == "finished")
            if row["cost"]
            else _unfinished(row, names, len(columns))
        )
    return Table("Bill of one run, the mean over its seeds; peaks are the highest", columns, lines)


def _costs(cost: Row) -> list[Cell]:
    over, against = cost.get("over_full"), cost.get("score_against_full")
    return [
        count(cost["selection_seconds"], digits=1),
        count(cost["train_seconds"], digits=1),
        count(cost["evaluate_seconds"], digits=1),
        count(cost["search_device_hours"], digits=2),
        count(cost["total_device_hours"], digits=4),
        count(over, None if over is None else f"{over:.2f}"),
        Cell((against or "").replace("_", " "), against),
        size(cost["peak_allocated_bytes"]),
        size(cost["peak_reserved_bytes"]),
        size(cost["state_bytes"]),
        count(cost["train_tokens_per_second"]),
        count(cost["generated_tokens_per_second"]),
        count(cost["money"], digits=2),
    ]


def comparison_table(verdicts: Sequence[Verdict], caption: str) -> Table:
    """Return the numbers behind some verdicts, one line a comparison."""
    columns = ("baseline", "question", "against", "read", "verdict", "difference", "p", "p, Holm")
    lines = []
    for verdict in verdicts:
        against = verdict.against or ("",)
        for place, number in enumerate(verdict.comparisons):
            other = against[place] if len(against) == len(verdict.comparisons) else against[0]
            other = ", ".join(filter(None, [other, number.get("direction")]))
            texts = [
                verdict.baseline,
                verdict.question,
                other,
                WHERE.get(verdict.rule, verdict.rule),
            ]
            cells = [Cell(one, one) for one in [*texts, verdict.verdict.replace("_", " ")]]
            numbers = [interval(number, sign=True), p_value(number.get("p_value"))]
            lines.append(Line([*cells, *numbers, p_value(number.get("adjusted_p_value"))]))
    return Table(caption, [Column(one) for one in columns], lines)


def score_table(row: Row) -> Table:
    """Return all scores of one row, by rule and metric, with what they gained."""
    seeds = list(next(iter(next(iter(row["scores"].values())).values()))["by_seed"])
    columns = [
        "rule",
        "metric",
        "score",
        *(f"seed {seed}" for seed in seeds),
        "gain",
        "p of the gain",
    ]
    lines = []
    for rule, metrics in row["scores"].items():
        for metric, score in metrics.items():
            gain: dict[str, Any] | None = (row["gains"] or {}).get(rule, {}).get(metric)
            by_seed = [count(score["by_seed"].get(seed), digits=2) for seed in seeds]
            cells = [Cell(rule, rule), Cell(metric, metric), interval(score), *by_seed]
            p = None if gain is None else gain["p_value"]
            lines.append(Line([*cells, interval(gain, sign=True), p_value(p)]))
    heads = [Column(one, sortable=False) for one in columns]
    return Table("Scores under every rule and metric, with 95 % intervals", heads, lines)
