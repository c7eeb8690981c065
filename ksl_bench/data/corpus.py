"""The corpora of a user: find them, read them, sample them, name them by a digest.

A location is one of

- `controlled`: the embedded corpus;
- `[FILE, FILE]`: two text files aligned by line number; `[[FILE, FILE], ...]`: several, in order;
- `FILE.tsv`: source, target and perhaps document; with a header if columns are named;
- `FILE.jsonl`: objects with both segments, by column name, language code, or "source" and "target";
- `FOLDER`: FLORES-101, FLORES-200, or `SPLIT.LANGUAGE` files;
- `hf://OWNER/NAME[@REVISION][?config=CONFIG&split=SPLIT]`: a Hugging Face dataset.

Segments are not cleaned: repeated and untranslated pairs are the user's to judge.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from ksl_bench.config import Location, Split
from ksl_bench.data.columns import Languages
from ksl_bench.data.folders import find_files
from ksl_bench.data.hub import SCHEME, read_dataset
from ksl_bench.data.readers import Pair, read_aligned, read_jsonl, read_tsv
from ksl_bench.errors import DataError

__all__ = ["Corpus", "Location", "Pair", "Split", "digest_of", "read_corpus"]

T = TypeVar("T")

CONTROLLED = "controlled"
CONTROLLED_SIZES: dict[str, int] = {"train": 2000, "dev": 200, "devtest": 200}
"""Pairs drawn from the embedded corpus, which has no end of its own, where no size is given."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One split, as it is used."""

    pairs: tuple[Pair, ...]
    digest: str
    """SHA-256 of the segments used, in their order, as hex; see `digest_of`."""
    origin: str
    """What was read, for people: one line."""
    available: int
    """Pairs that there were before sampling."""


def read_corpus(
    location: Location,
    *,
    source_language: str,
    target_language: str,
    split: str,
    size: int | None,
    seed: int,
    columns: tuple[str, str] | None = None,
) -> Corpus:
    """Read one split of a corpus.

    Args:
        location: See the module.
        source_language: ISO 639-3, perhaps with a script: "eng", "zho_Hant".
        target_language: Likewise.
        split: "train", "dev" or "devtest".
        size: Pairs to use, None for all (of the embedded corpus 2000 of train, 200 of the others).
        seed: Draws the training pairs: the first `size` of a permutation, so that a smaller sample
            is the beginning of a larger one. Of dev and devtest the first `size` are taken.
        columns: Names of the source and target column of TSV, JSONL and datasets.

    Raises:
        DataError: If it cannot be read as asked; all problems of the location are told together.
    """
    if split not in CONTROLLED_SIZES:
        raise DataError(f"unknown split {split!r}. Known: {', '.join(CONTROLLED_SIZES)}")
    languages = Languages(source_language, target_language, columns)
    if location == CONTROLLED:
        return _controlled(languages, cast(Split, split), size, seed)
    problems: list[str] = []
    pairs, origin = _read(location, languages, split, problems)
    if not problems and not pairs:
        problems.append(f"{origin}: no pairs")
    if not problems and size is not None and size > len(pairs):
        problems.append(f"{origin}: {size} {split} pairs wanted, but {len(pairs)} available")
    if problems:
        raise DataError(problems)
    chosen = sample(pairs, size, seed if split == "train" else None)
    return Corpus(tuple(chosen), digest_of(chosen), origin, len(pairs))


def digest_of(pairs: Iterable[Pair]) -> str:
    """Return the SHA-256 of segments in their order, as hex.

    Every segment is preceded by its length in bytes: no two lists of pairs give the same stream.
    Documents are left out: they change neither what is trained nor what is generated.
    """
    digest = hashlib.sha256()
    for pair in pairs:
        for segment in (pair.source, pair.target):
            encoded = segment.encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(8, "big"))
            digest.update(encoded)
    return digest.hexdigest()


def _controlled(languages: Languages, split: Split, size: int | None, seed: int) -> Corpus:
    from ksl_bench.data.controlled import controlled_pairs

    size = CONTROLLED_SIZES[split] if size is None else size
    drawn = controlled_pairs(languages.source, languages.target, split=split, size=size, seed=seed)
    pairs = tuple(Pair(source, target) for source, target in drawn)
    origin = f"controlled corpus, {languages.source}-{languages.target}, {split}, seed {seed}"
    return Corpus(pairs, digest_of(pairs), origin, len(pairs))


def _read(
    location: Location, languages: Languages, split: str, problems: list[str]
) -> tuple[list[Pair], str]:
    """Return all pairs of a location, and what was read."""
    if not location:
        problems.append(f"{split}_files: must name files, got {location!r}")
        return [], ""
    if not isinstance(location, str):
        both = (location,) if isinstance(location[0], str) else location
        pairs = [pair for one in both for pair in read_aligned(*one, problems)]
        return pairs, ", ".join(f"{source} + {target}" for source, target in both)
    if location.startswith(SCHEME):
        return read_dataset(location, languages, split, problems), location
    if Path(location).is_dir():
        files = find_files(location, split, (languages.source, languages.target), problems)
        pairs = read_aligned(*files, problems) if files else []
        return pairs, f"{location} ({split}, {languages.source}-{languages.target})"
    suffix = Path(location).suffix
    if suffix == ".tsv":
        return read_tsv(location, languages, problems), location
    if suffix == ".jsonl":
        return read_jsonl(location, languages, problems), location
    if Path(location).exists():
        problems.append(
            f"{location}: must be a .tsv or .jsonl file; aligned files are given as [FILE, FILE]"
        )
    else:
        problems.append(f"{location}: no such file or folder")
    return [], location


def sample(items: Sequence[T], size: int | None, seed: int | None) -> Sequence[T]:
    """Return the first items, of a permutation if there is a seed."""
    if size is None:
        return items
    if seed is None:
        return items[:size]
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    return [items[index] for index in order[:size]]
