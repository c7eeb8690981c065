"""Text that says the same in several languages: one split of a multi-parallel corpus.

A location is one of

- `controlled`: the embedded corpus;
- `FOLDER`: FLORES-101, FLORES-200, or `SPLIT.LANGUAGE` files;
- pairs of language and file: text files aligned by line number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ksl_bench.config import Location, Split
from ksl_bench.data.corpus import CONTROLLED, CONTROLLED_SIZES, sample
from ksl_bench.data.folders import find_language_files
from ksl_bench.data.readers import read_aligned
from ksl_bench.errors import DataError

Segment = Mapping[str, str]
"""What is said, by language."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """One split, as it is used."""

    segments: tuple[Segment, ...]
    origin: str
    """What was read, for people: one line."""
    available: int
    """Segments that there were before sampling."""


def read_parallel(
    location: Location, languages: Sequence[str], *, split: Split, size: int | None, seed: int
) -> Parallel:
    """Read one split in several languages.

    Args:
        location: See the module.
        languages: ISO 639-3 codes, perhaps with a script; at least two.
        split: "train", "dev" or "devtest".
        size: Segments to use, None for all (of the embedded corpus 2000 of train, 200 of the others).
        seed: Draws the training segments: the first `size` of a permutation. Of dev and devtest the first
            `size` are taken.

    Raises:
        DataError: If it cannot be read as asked; all problems are told together.
    """
    if location == CONTROLLED:
        return _controlled(languages, split, size, seed)
    problems: list[str] = []
    files = _files_of(location, languages, split, problems)
    segments = _read(files, problems) if files else []
    origin = f"{location if isinstance(location, str) else 'aligned files'} ({split}, {', '.join(languages)})"
    if not problems and not segments:
        problems.append(f"{origin}: no segments")
    if not problems and size is not None and size > len(segments):
        problems.append(f"{origin}: {size} {split} segments wanted, but {len(segments)} available")
    if problems:
        raise DataError(dict.fromkeys(problems))
    chosen = sample(segments, size, seed if split == "train" else None)
    return Parallel(tuple(chosen), origin, len(segments))


def _controlled(languages: Sequence[str], split: Split, size: int | None, seed: int) -> Parallel:
    from ksl_bench.data.controlled import controlled_segments

    size = CONTROLLED_SIZES[split] if size is None else size
    drawn = controlled_segments(languages, split=split, size=size, seed=seed)
    segments = tuple(dict(zip(languages, one, strict=True)) for one in drawn)
    origin = f"controlled corpus, {', '.join(languages)}, {split}, seed {seed}"
    return Parallel(segments, origin, len(segments))


def _files_of(
    location: Location, languages: Sequence[str], split: Split, problems: list[str]
) -> dict[str, str] | None:
    """Return the file of every language, None if one is not there."""
    if isinstance(location, str):
        if not Path(location).is_dir():
            problems.append(f"{location}: no such folder")
            return None
        return find_language_files(location, split, languages, problems)
    given = dict(cast(tuple[tuple[str, str], ...], location))
    missing = [one for one in languages if one not in given]
    if missing:
        problems.append(f"no {split} file of {', '.join(missing)}; there is {', '.join(given)}")
        return None
    return {one: given[one] for one in languages}


def _read(files: Mapping[str, str], problems: list[str]) -> list[Segment]:
    """Return the lines of all files, each held against the first."""
    (first, source), *others = files.items()
    columns = {one: read_aligned(source, file, problems) for one, file in others}
    if problems:
        return []
    lines = {one: [pair.target for pair in pairs] for one, pairs in columns.items()}
    lines[first] = [pair.source for pair in next(iter(columns.values()))]
    count = len(lines[first])
    return [{one: lines[one][at] for one in files} for at in range(count)]
