"""Parallel text from a Hugging Face dataset.

    hf://OWNER/NAME[@REVISION][?config=CONFIG&split=SPLIT]

`REVISION` is a branch, tag or commit. Without `split`, "train" reads the dataset's train, "dev" its
dev or validation, "devtest" its devtest or test. A folder with data files may stand in the place of
`OWNER/NAME`. No code of a dataset is ever run: one that needs its own script is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ksl_bench.data.columns import Languages, find_columns
from ksl_bench.data.readers import Pair, pairs_of

SCHEME = "hf://"
_OPTIONS = ("config", "split")
_SPLIT_NAMES = {
    "train": ("train",),
    "dev": ("dev", "validation", "valid"),
    "devtest": ("devtest", "test"),
}


@dataclass(frozen=True, slots=True)
class HubLocation:
    """Where a dataset is."""

    path: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None


def parse_location(location: str, problems: list[str]) -> HubLocation | None:
    """Return what an `hf://` location says, or None if it is malformed."""
    rest, _, query = location.removeprefix(SCHEME).partition("?")
    path, at, revision = rest.rpartition("@") if "@" in rest else (rest, "", "")
    options = parse_qs(query, keep_blank_values=True)
    before = len(problems)
    if not path or (at and not revision) or urlsplit(location).fragment:
        problems.append(
            f"{location}: must be {SCHEME}OWNER/NAME[@REVISION][?config=CONFIG&split=SPLIT]"
        )
    for name, values in options.items():
        if name not in _OPTIONS:
            problems.append(f"{location}: unknown option {name!r}. Known: {', '.join(_OPTIONS)}")
        elif len(values) > 1 or not values[0]:
            problems.append(f"{location}: {name} must have one value")
    if len(problems) > before:
        return None
    one = {name: values[0] for name, values in options.items()}
    return HubLocation(unquote(path), revision or None, one.get("config"), one.get("split"))


def read_dataset(
    location: str, languages: Languages, split: str, problems: list[str]
) -> list[Pair]:
    """Read one split of a dataset.

    Args:
        location: See the module.
        languages: Say which columns; see `find_columns`.
        split: "train", "dev" or "devtest"; what the location says goes before.
        problems: Takes what is wrong.
    """
    rows = _split(location, split, problems)
    if rows is None:
        return []
    columns = find_columns(rows[0], languages)
    if columns is not None:
        needed = dict.fromkeys([columns[0][0], columns[1][0], "document"])
        rows = rows.select_columns([one for one in needed if one in rows.column_names])
    return pairs_of(location, list(enumerate(rows.to_list(), 1)), languages, problems)


def read_rows(
    location: str, split: str, problems: list[str]
) -> list[tuple[int, Mapping[str, Any]]]:
    """Read the rows of one split as they are, each with its number, from 1; arguments as `read_dataset`."""
    rows = _split(location, split, problems)
    return [] if rows is None else list(enumerate(rows.to_list(), 1))


def _split(location: str, split: str, problems: list[str]) -> Any:
    """Return one split of a dataset, None if there is none or it is empty."""
    parsed = parse_location(location, problems)
    if parsed is None:
        return None
    splits = _load(location, parsed, problems)
    if splits is None:
        return None
    wanted = (parsed.split,) if parsed.split else _SPLIT_NAMES[split]
    name = next((one for one in wanted if one in splits), None)
    if name is None:
        problems.append(f"{location}: no split {' or '.join(wanted)}; there is {', '.join(splits)}")
        return None
    rows = splits[name]
    if not len(rows):
        problems.append(f"{location}: split {name} is empty")
        return None
    return rows


def _load(location: str, parsed: HubLocation, problems: list[str]) -> dict[str, Any] | None:
    """Return the dataset's splits by name."""
    try:
        import datasets
    except ImportError:
        problems.append(
            f"{location}: needs the package datasets: pip install 'ksl-bench[datasets]'"
        )
        return None
    try:
        splits = datasets.load_dataset(parsed.path, parsed.config, revision=parsed.revision)
    except Exception as error:  # the library raises many kinds, its HTTP client's own among them
        reason = " ".join(str(error).split()) or "no message"
        problems.append(f"{location}: cannot be loaded: {type(error).__name__}: {reason}")
        return None
    return {str(name): rows for name, rows in splits.items()}
