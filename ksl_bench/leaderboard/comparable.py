"""What forbids a judgement on rows: terms that differ, and seeds that did not finish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Terms = tuple[tuple[str, str], ...]
"""What must be alike, by name."""
_DIFFERING = {
    "budget": "tuned under another budget",
    "search": "chosen by another search",
    "precision": "computed at another precision",
    "text": "scored on another text",
    "signature": "scored with another signature",
}
_ENDS = {
    "diverged": "diverged",
    "failed": "failed",
    "out_of_memory": "ran out of memory",
    "skipped": "were skipped",
    "pending": "are still to come",
}


def apart(one: Terms, other: Terms) -> str | None:
    """Return why two rows cannot be judged against each other; None where they can.

    What a row has no word on (the budget of one that trains nothing) forbids nothing.
    """
    parts = [
        f"{_DIFFERING[name]} ({own}, not {its})"
        for (name, own), (_, its) in zip(one, other, strict=True)
        if own != its and own and its
    ]
    return "; ".join(parts) or None


def missing_of(*rows: Mapping[str, Any]) -> str | None:
    """Return how many seeds of some rows finished, as `missing_seeds`; None where all did."""
    return "; ".join(one for one in map(missing_seeds, rows) if one) or None


def missing_seeds(row: Mapping[str, Any]) -> str | None:
    """Return how many seeds of a row finished, and what became of the others; None where all did."""
    ends = list(dict.fromkeys(row["unfinished_seeds"].values()))
    if not ends:
        return None
    said = " or ".join(_ENDS.get(one, one) for one in ends)
    done = (
        f"{len(row['finished_seeds'])} of {len(row['seeds'])} seeds of {row['baseline']} finished"
    )
    return f"{done}, the others {said}"
