"""Labelled text: find it, read it, sample it, name it by a digest.

A location is one of

- `controlled`: sentences of the embedded corpus with their topics;
- `FILE.tsv` with a header, or `FILE.jsonl`;
- `FOLDER`: one `LANGUAGE.SPLIT.tsv` or `.jsonl` a language, as SIB-200 has it (its test split is "devtest");
- `hf://OWNER/NAME[@REVISION][?config=CONFIG&split=SPLIT]`: a Hugging Face dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ksl_bench.config import LabelColumns, Location, Split
from ksl_bench.data.controlled.topics import controlled_topics
from ksl_bench.data.corpus import CONTROLLED, CONTROLLED_SIZES, sample
from ksl_bench.data.hub import SCHEME, read_rows
from ksl_bench.data.readers import Repeated, given, read_objects, read_table
from ksl_bench.errors import DataError

Rows = Sequence[tuple[int, Mapping[str, Any]]]
"""With the line that each stands in."""

_FILE_SPLITS = {"train": ("train",), "dev": ("dev", "validation"), "devtest": ("devtest", "test")}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with its label."""

    text: str
    label: str
    language: str
    """As the suite names it."""
    document: str | None = None
    """What it is drawn together with, where the corpus says so."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """All columns that say something of it, as text."""


@dataclass(frozen=True, slots=True)
class LabelledCorpus:
    """One split, as it is used."""

    items: tuple[Labelled, ...]
    digest: str
    """SHA-256 of texts, labels and languages in their order, as hex."""
    origin: str
    available: int
    """Texts that there were before sampling."""


def read_labelled(
    location: Location,
    *,
    languages: Sequence[str],
    labels: Sequence[str],
    split: Split,
    size: int | None,
    seed: int,
    columns: LabelColumns,
) -> LabelledCorpus:
    """Read one split.

    Args:
        location: See the module.
        languages: ISO 639-3, perhaps with a script; rows of other languages are left out. A file without a
            column for it must be of one language.
        labels: All that may occur.
        split: Which one.
        size: Texts to use, None for all (of the embedded corpus 2000 of train, 200 of the others).
        seed: Draws the training texts, as `read_corpus` does; of dev and devtest the first are taken.
        columns: What the columns are called.

    Raises:
        DataError: If it cannot be read as asked; all problems of the location are told together.
    """
    problems: list[str] = []
    if location == CONTROLLED:
        wanted = size or CONTROLLED_SIZES[split]
        drawn = controlled_topics(languages, split=split, size=wanted, seed=seed)
        items = [Labelled(text, label, language) for text, label, language in drawn]
        origin, available = f"controlled corpus, topics, {split}, seed {seed}", len(items)
        _check_labels(items, labels, origin, problems)
    else:
        items, origin = _read(location, languages, split, columns, labels, problems)
        available = len(items)
        if not problems and not items:
            problems.append(f"{origin}: no text in {', '.join(languages)}")
        if not problems and size is not None and size > available:
            problems.append(f"{origin}: {size} {split} texts wanted, but {available} available")
        items = list(sample(items, size, seed if split == "train" else None))
    if problems:
        raise DataError(problems)
    return LabelledCorpus(tuple(items), _digest(items), origin, available)


def _read(
    location: Location,
    languages: Sequence[str],
    split: Split,
    columns: LabelColumns,
    labels: Sequence[str],
    problems: list[str],
) -> tuple[list[Labelled], str]:
    if not isinstance(location, str):
        problems.append(f"labelled text comes from one file or folder, got {list(location)}")
        return [], str(location)
    files: list[tuple[str, str | None]] = [(location, None)]
    if Path(location).is_dir():
        files = _of_folder(location, languages, split, problems)
    items = [
        one
        for path, language in files
        for one in _texts(
            path, _rows(path, split, problems), language, languages, columns, labels, problems
        )
    ]
    return items, f"{location} ({split}, {', '.join(languages)})"


def _of_folder(
    folder: str, languages: Sequence[str], split: Split, problems: list[str]
) -> list[tuple[str, str | None]]:
    """Return a file for every language, with the language."""
    found: list[tuple[str, str | None]] = []
    for language in languages:
        paths = [
            path
            for name in _FILE_SPLITS[split]
            for ending in ("tsv", "jsonl")
            for stem in (language, f"{language}_*")
            for path in sorted(Path(folder).glob(f"{stem}.{name}.{ending}"))
        ]
        if len(paths) == 1:
            found.append((str(paths[0]), language))
        elif paths:
            several = ", ".join(path.name for path in paths)
            problems.append(f"{folder}: {language} comes in several files: {several}")
        else:
            problems.append(f"{folder}: no {language} in {split}: no {language}.{split}.tsv")
    return found


def _rows(path: str, split: Split, problems: list[str]) -> Rows:
    if path.startswith(SCHEME):
        return read_rows(path, split, problems)
    suffix = Path(path).suffix
    if suffix == ".tsv":
        return read_table(path, problems)
    if suffix == ".jsonl":
        return read_objects(path, problems)
    what = "must be a .tsv or .jsonl file" if Path(path).exists() else "no such file or folder"
    problems.append(f"{path}: {what}")
    return []


def _texts(
    path: str,
    rows: Rows,
    language: str | None,
    languages: Sequence[str],
    columns: LabelColumns,
    labels: Sequence[str],
    problems: list[str],
) -> list[Labelled]:
    if not rows:
        return []
    needed = [columns.text, columns.label]
    missing = [one for one in needed if one not in rows[0][1]]
    if missing:
        there = ", ".join(map(str, rows[0][1])) or "none"
        problems.append(f"{path}: no column {' or '.join(missing)}; there are {there}")
        return []
    if language is None and columns.language not in rows[0][1]:
        if len(languages) > 1:
            problems.append(
                f"{path}: no column {columns.language}, but {len(languages)} languages are asked for"
            )
            return []
        language = languages[0]
    empty, unlike = Repeated(path, "empty texts"), Repeated(path, "unknown labels")
    items = []
    for number, row in rows:
        spoken = language or _as_asked(str(row.get(columns.language)), languages)
        if spoken is None:
            continue
        text, label = str(row.get(columns.text) or ""), str(row.get(columns.label))
        if not text.strip():
            empty.add(number, "empty text")
        if label not in labels:
            unlike.add(number, f"label must be one of {', '.join(labels)}, got {label!r}")
        fields = {name: said for name in row if (said := given(row, name)) is not None}
        items.append(Labelled(text, label, spoken, fields.get(columns.document), fields))
    problems += [*empty.lines(), *unlike.lines()]
    return items


def _as_asked(code: str, languages: Sequence[str]) -> str | None:
    """Return the language of the suite that a row's code means, with or without a script."""
    matches = (one for one in languages if code == one or code.split("_")[0] == one)
    return next(matches, None)


def _check_labels(
    items: Iterable[Labelled], labels: Sequence[str], origin: str, problems: list[str]
) -> None:
    unlike = sorted({one.label for one in items} - set(labels))
    if unlike:
        problems.append(
            f"{origin}: it has labels that are not among {', '.join(labels)}: {', '.join(unlike)}"
        )


def _digest(items: Iterable[Labelled]) -> str:
    digest = hashlib.sha256()
    for one in items:
        for part in (one.text, one.label, one.language):
            encoded = part.encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(8, "big"))
            digest.update(encoded)
    return digest.hexdigest()
