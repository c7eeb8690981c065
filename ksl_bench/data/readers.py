r"""Parallel text from files: two aligned files, TSV, JSONL.

A reader collects what is wrong in a list of lines instead of stopping at the first, so that a user
mends a corpus in one go. Text is UTF-8 and split on "\n" alone: web text holds U+0085 and U+2028,
at which `str.splitlines` would break a segment. Segments are kept as they are, but for a carriage
return before the newline and a byte order mark at the start.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ksl_bench.data.columns import Languages, find_columns, missing_columns, wanted_columns

_FIELD = re.compile(r"""(?:^|\t)(?:"((?:[^"]|"")*)"(?=\t|$)|([^\t]*))""")
"""A field of a table with the tab before it; the quoted form is tried first."""

SHOWN = 3
"""Problems of one kind that are spelled out for one file; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A segment and its translation."""

    source: str
    target: str
    document: str | None = None
    """The document it stands in, where the corpus says so."""


class Repeated:
    """Problems of one kind in one file: the first few are told, then how many there are."""

    def __init__(self, file: str, what: str) -> None:
        """Name the file, and what is wrong in the plural."""
        self._file, self._what = file, what
        self._first: list[str] = []
        self._count = 0

    def add(self, line: int, problem: str) -> None:
        """Note a problem in a line, counted from 1."""
        self._count += 1
        if self._count <= SHOWN:
            self._first.append(f"{self._file}:{line}: {problem}")

    def lines(self) -> list[str]:
        """Return a line for each of the first problems, and the count if there are more."""
        if self._count <= SHOWN:
            return self._first
        return [*self._first, f"{self._file}: {self._count} {self._what} in all"]


def read_lines(path: str, problems: list[str]) -> list[str] | None:
    """Return the lines of a UTF-8 file.

    Args:
        path: One final newline is no line of its own.
        problems: Takes what is wrong.

    Returns:
        The lines without their ends, or None if the file cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        problems.append(f"{path}: no such file")
        return None
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(f"{path}:{line}: not UTF-8, at byte {error.start} of the file")
        return None
    text = text.removeprefix(codecs.BOM_UTF8.decode())
    if not text:
        problems.append(f"{path}: empty file")
        return None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def read_aligned(source: str, target: str, problems: list[str]) -> list[Pair]:
    """Read two files that are aligned by line number."""
    sides = {}
    for path in (source, target):
        lines = read_lines(path, problems)
        if lines is None:
            continue
        sides[path] = lines
        empty = Repeated(path, "empty segments")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                empty.add(number, "empty segment")
        problems += empty.lines()
    if source not in sides or target not in sides:
        return []
    counts = len(sides[source]), len(sides[target])
    if counts[0] != counts[1]:
        problems.append(f"{source} has {counts[0]} lines, but {target} has {counts[1]}")
        return []
    return [Pair(*both) for both in zip(sides[source], sides[target], strict=True)]


def read_tsv(path: str, languages: Languages, problems: list[str]) -> list[Pair]:
    """Read source, target and perhaps a document per line; nothing is quoted or escaped.

    A first line with names is expected exactly if the user named columns.
    """
    lines = read_lines(path, problems)
    if lines is None:
        return []
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, 1)]
    wrong = Repeated(path, "lines with a wrong number of columns")
    if languages.columns is not None:
        header = rows.pop(0)[1]
        allowed, rule = [len(header)], f"the header has {len(header)}"
    else:
        if tuple(name.lower() for name in rows[0][1][:2]) in wanted_columns(languages):
            problems.append(f"{path}:1: looks like a header, which needs `columns` to name its two")
        header, allowed, rule = ["source", "target", "document"], [2, 3], "2 or 3 are allowed"
        languages = replace(languages, columns=("source", "target"))
    for number, row in rows:
        if len(row) not in allowed:
            wrong.add(number, f"{len(row)} columns, but {rule}")
    if wrong.lines():
        problems += wrong.lines()
        return []
    named = [(number, dict(zip(header, row, strict=False))) for number, row in rows]
    return pairs_of(path, named, languages, problems)


def read_jsonl(path: str, languages: Languages, problems: list[str]) -> list[Pair]:
    """Read an object with both segments per line."""
    return pairs_of(path, read_objects(path, problems), languages, problems)


def read_objects(path: str, problems: list[str]) -> list[tuple[int, Mapping[str, Any]]]:
    """Read a JSON object per line, with its line number, from 1."""
    lines = read_lines(path, problems)
    if lines is None:
        return []
    rows: list[tuple[int, Mapping[str, Any]]] = []
    wrong = Repeated(path, "lines that are no JSON object")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            wrong.add(number, "not JSON")
            continue
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            wrong.add(number, f"must be an object, got {type(row).__name__}")
    problems += wrong.lines()
    return rows


def read_table(path: str, problems: list[str]) -> list[tuple[int, Mapping[str, Any]]]:
    """Read a TSV whose first line names its columns; each line with its number.

    A field may be quoted, as SIB-200 has it: then it begins and ends with a quote, and each one inside is
    written twice. A field that merely begins with a quote is as it stands. No field holds a newline.
    """
    lines = read_lines(path, problems)
    if lines is None:
        return []
    header = _cells(lines[0])
    wrong = Repeated(path, "lines with a wrong number of columns")
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(lines[1:], 2):
        cells = _cells(line)
        if len(cells) != len(header):
            wrong.add(number, f"{len(cells)} columns, but the header has {len(header)}")
        rows.append((number, dict(zip(header, cells, strict=False))))
    problems += wrong.lines()
    return rows


def _cells(line: str) -> list[str]:
    """Return the fields of a line, quoted or not."""
    return [
        bare if quoted is None else quoted.replace('""', '"')
        for quoted, bare in (found.groups() for found in _FIELD.finditer(line))
    ]


def pairs_of(
    origin: str,
    rows: Sequence[tuple[int, Mapping[str, Any]]],
    languages: Languages,
    problems: list[str],
) -> list[Pair]:
    """Take the two segments, and the document if there is one, out of every row.

    Args:
        origin: What the rows were read from, for messages.
        rows: Line number, from 1, and columns by name.
        languages: Say which columns; see `find_columns`.
        problems: Takes what is wrong.
    """
    if not rows:
        return []
    number, first = rows[0]
    columns = find_columns(first, languages)
    if columns is None:
        problems.append(f"{origin}:{number}: {missing_columns(first, languages)}")
        return []
    pairs = []
    wrong = Repeated(origin, "segments that are missing or empty")
    for number, row in rows:
        segments = [_segment(row, column) for column in columns]
        for column, segment in zip(columns, segments, strict=True):
            if not isinstance(segment, str):
                wrong.add(number, f"{'.'.join(column)} must be text, got {_kind(segment)}")
            elif not segment.strip():
                wrong.add(number, f"empty segment in {'.'.join(column)}")
        source, target = segments
        pairs.append(Pair(source, target, given(row, "document")))
    problems += wrong.lines()
    return pairs


def given(row: Mapping[str, Any], column: str) -> str | None:
    """Return what a row says in a column that need not be there; None where it says nothing."""
    value = row.get(column)
    return None if value in (None, "") else str(value)


def _segment(row: Mapping[str, Any], column: tuple[str, ...]) -> Any:
    value: Any = row
    for name in column:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
