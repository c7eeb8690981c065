"""What a report says of one row: scores, tokens, examples, provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import TypeAdapter

from ksl_bench.config import AnyTask
from ksl_bench.data.languages import to_iso6391
from ksl_bench.errors import KslBenchError
from ksl_bench.leaderboard import Board
from ksl_bench.report.cells import Row, Table
from ksl_bench.report.tables import score_table
from ksl_bench.report.tokens import shown_tokens
from ksl_bench.store import Store
from ksl_bench.tasks import build_task

EXAMPLES = 20
"""Sentences shown of a row."""


@dataclass(frozen=True, slots=True)
class Language:
    """Of a text, for those who have it read to them; None where it is not known."""

    source: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """One sentence."""

    number: int
    """In the split, from 1."""
    source: str
    reference: str
    outputs: tuple[tuple[int, str, bool], ...]
    """Of each seed: all that was generated, and whether the model ended it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The rows that a seed's ticket has."""

    seeds: tuple[int, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """All that is told of one row."""

    anchor: str
    row: Row
    title: str
    scores: Table | None
    tickets: Sequence[Ticket]
    examples: Sequence[Example]
    of: int
    """Sentences that there are."""
    language: Language
    recipe: str
    """As YAML."""
    provenance: Mapping[str, str]


def detail_of(board: Board, store: Store, row: Row, anchor: str) -> Detail:
    """Read what the store has of a row."""
    place = (row["baseline"], row["condition"], row["scored_under"])
    planned = [
        one
        for one in board.plan["rows"]
        if (one["baseline"], one["condition"], one["scored_under"]) == place
    ]
    records = {one["seed"]: store.record("evaluation", one["evaluation"]) for one in planned}
    finished = {
        seed: record
        for seed, record in records.items()
        if record is not None and record["status"] == "finished"
    }
    recipe = next(one for one in board.plan["suite"]["baselines"] if one["name"] == row["baseline"])
    spec = task_of(board, row["scored_under"])
    examples, of = _examples(store, finished, _sentence(spec))
    return Detail(
        anchor=anchor,
        row=row,
        title=row_title(board, row),
        scores=score_table(row) if row["scores"] else None,
        tickets=_tickets(store, planned),
        examples=examples,
        of=of,
        language=Language(_tag(spec, "source_language"), _tag(spec, "target_language")),
        recipe=as_yaml(recipe),
        provenance=_provenance(finished),
    )


def row_title(board: Board, row: Row) -> str:
    """Return the baseline, and what it was tuned and scored under where there is a choice."""
    if row["condition"] != row["scored_under"]:
        return (
            f"{row['baseline']}, tuned under {row['condition']}, scored under {row['scored_under']}"
        )
    if len({one["condition"] for one in board.rows}) > 1:
        return f"{row['baseline']}, {row['condition']}"
    return str(row["baseline"])


def task_of(board: Board, condition: str) -> Mapping[str, Any]:
    """Return the task of a condition, as the suite has it."""
    suite = board.plan["suite"]
    found: Mapping[str, Any] = suite["conditions"].get(condition) or suite.get("task") or {}
    return found


def as_yaml(content: Any) -> str:
    """Return something as YAML, in its order."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


_TASK: TypeAdapter[AnyTask] = TypeAdapter(AnyTask)


def _sentence(spec: Mapping[str, Any]) -> str:
    """Return the field that is an example's own text."""
    try:
        return build_task(_TASK.validate_python(spec)).sentence
    except (
        KslBenchError,
        ValueError,
    ):  # a plan of another version; its outputs are there all the same
        return "source"


def _tag(spec: Mapping[str, Any], field: str) -> str | None:
    code = spec.get(field)
    if not isinstance(code, str):
        return None
    try:
        return to_iso6391(code) or code[:3]
    except KslBenchError:
        return None


def _examples(
    store: Store, records: Mapping[int, Mapping[str, Any]], sentence: str
) -> tuple[list[Example], int]:
    """Return the same sentences for every row, at even distances over the split; and how many there are."""
    outputs = {}
    for seed, record in records.items():
        try:
            content = store.read_bytes("evaluation", record["key"], "outputs.jsonl", record=record)
        except KslBenchError:  # set aside by the store, which says so; the scores stand
            continue
        outputs[seed] = content.decode(errors="replace").split("\n")[:-1]
    if not outputs:
        return [], 0
    of = min(map(len, outputs.values()))
    places = sorted({place * of // min(of, EXAMPLES) for place in range(min(of, EXAMPLES))})
    examples = []
    for place in places:
        entries = {seed: json.loads(lines[place]) for seed, lines in outputs.items()}
        first = next(iter(entries.values()))
        examples.append(
            Example(
                place + 1,
                str(first.get(sentence, "")),
                str(first.get("reference", "")),
                tuple(
                    (seed, str(one.get("output", "")), bool(one.get("ended", True)))
                    for seed, one in entries.items()
                ),
            )
        )
    return examples, of


def _tickets(store: Store, planned: Sequence[Mapping[str, Any]]) -> list[Ticket]:
    """Return the distinct tickets of a row; a mask of entries has no rows to name."""
    found: dict[tuple[str, ...], list[int]] = {}
    for one in planned:
        record = store.record("ticket", one["ticket"]) if one["ticket"] else None
        if record is not None and record["status"] == "finished" and "rows" in record["ticket"]:
            rows = record["ticket"]["rows"]
            tokens = tuple(shown_tokens([(row["token_id"], row["token"]) for row in rows]))
            found.setdefault(tokens, []).append(one["seed"])
    return [Ticket(tuple(seeds), tokens) for tokens, seeds in found.items()]


def _provenance(records: Mapping[int, Mapping[str, Any]]) -> dict[str, str]:
    """Return where the numbers come from; what differs between seeds is given for each."""
    entries: dict[str, dict[int, str]] = {}
    for seed, record in records.items():
        for name, said in _sources(record).items():
            entries.setdefault(name, {})[seed] = said
    told = {}
    for name, by_seed in entries.items():
        if len(set(by_seed.values())) == 1:
            told[name] = next(iter(by_seed.values()))
        else:
            told[name] = "; ".join(f"seed {seed}: {said}" for seed, said in by_seed.items())
    return told


def _sources(record: Mapping[str, Any]) -> dict[str, str]:
    made, model = record.get("provenance") or {}, record.get("model") or {}
    data, draw = record.get("data") or {}, record.get("draw") or {}
    signatures = {
        f"signature of {metric}": score["signature"]
        for metrics in record["scores"].values()
        for metric, score in metrics.items()
    }
    found = {
        "finished": made.get("finished_at"),
        "hardware": _joined(made.get("hardware")),
        "versions": _joined(made.get("versions")),
        "git commit": made.get("git_commit"),
        "base model": _joined({one: model.get(one) for one in ("name", "revision", "digest")}),
        "data": _joined({one: data.get(one) for one in ("origin", "digest")}),
        **signatures,
        "draw": _joined(draw),
        "evaluation": record["key"],
        "outputs": (record.get("files") or {}).get("outputs.jsonl", {}).get("sha256"),
    }
    return {name: str(said) for name, said in found.items() if said}


def _joined(fields: Any) -> str | None:
    if not isinstance(fields, Mapping):
        return None if fields is None else str(fields)
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value is not None)
