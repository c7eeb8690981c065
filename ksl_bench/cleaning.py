"""What may go from a store: nothing that a suite's plans name, nothing that someone works on.

Shown before it is deleted. What goes:

- states, tickets (with their audits) and evaluations that no stored plan names, the last of a suite or an
  earlier one; those younger than a day stay, for a sweep names its trials only when it ends;
- with an age, those of plans that have not been run for so long (a retention rule for scheduled sweeps), and
  the plans themselves;
- what was set aside as broken;
- copies of results (bundles) that the leaderboard of no plan reads;
- checkpoints beside a finished state, and what Ray and Tune left; not within a day of a sign of life of
  any run (a lease, a file of Ray's): it may be at work there.

A plan that was set aside as broken is the exception: nobody knows what it named. While it is there it stays,
and so do all artifacts and bundles.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ksl_bench.store import Store
from ksl_bench.store.bundles import bundle_of, read_together
from ksl_bench.store.layout import (
    AUDITS,
    BUNDLES,
    CHAIN,
    FOLDERS,
    KEY,
    LEASES,
    PLANS,
    audit_path,
    body_path,
    plan_path,
    record_path,
)
from ksl_bench.store.listing import Entry

DAY = 86_400.0
GRACE_DAYS = 1.0
OF_RAY = ("ray", "tune")
"""Folders where Ray and Tune write."""
BROKEN = re.compile(r"\.corrupt-\d+(/|$)")


@dataclass(frozen=True, slots=True)
class Waste:
    """Something that may go."""

    path: str
    """Below the root; a file or a folder."""
    reason: str
    bytes: int
    modified: float | None
    """When the last of it was written, seconds since the epoch; None where the storage does not tell."""


def find_waste(
    store: Store, *, older_than_days: float | None = None, now: float | None = None
) -> list[Waste]:
    """Look for what may go.

    Args:
        store: What is cleaned.
        older_than_days: Also what belongs only to plans that were last written so long ago.
        now: Seconds since the epoch; the clock's where none is given.

    Returns:
        By path, no part of another.
    """
    entries = store.files.listing()
    now = time.time() if now is None else now
    written = {entry.path: entry.modified for entry in entries}
    sizes = _Sizes(entries)
    plans = [(name, at) for name in store.plans.names() for at in (None, *store.plans.past(name))]
    old = {
        plan
        for plan in plans
        if older_than_days is not None
        and (at := written.get(plan_path(*plan))) is not None
        and now - at > older_than_days * DAY
    }
    kept = [store.plans.read(*plan) or {} for plan in plans if plan not in old]
    wanted = {key for plan in kept for key in _named(plan)}
    waste = [
        sizes.waste(path, f"plan not run for {older_than_days:g} days")
        for path in sorted(plan_path(*plan) for plan in old)
    ]
    if not broken_plans(store):  # looked up last: to read a broken plan sets it aside
        unnamed = [*_unnamed(entries, sizes, wanted), *_unread(entries, sizes, kept)]
        waste += [one for one in unnamed if _is_old(one, now)]
    waste += _of_ray(entries, sizes, now)
    waste += _leftovers(store, entries, sizes, wanted)
    found = {one.path: one for one in waste}
    return [one for path, one in sorted(found.items()) if not _inside(path, found)]


def broken_plans(store: Store) -> list[str]:
    """Return the plans that were set aside, below the root: what they named is not known."""
    return [f"{PLANS}/{name}" for name in store.files.names(PLANS) if BROKEN.search(name)]


def remove_waste(store: Store, waste: Iterable[Waste]) -> int:
    """Remove what was found, each artifact's record first; return the bytes.

    An artifact that someone works on by now stays.
    """
    gone = 0
    for one in waste:
        key = next((part for part in re.split(r"[/.]", one.path) if KEY.fullmatch(part)), None)
        if key is not None and store.leases.take(key) is not None:
            continue
        try:
            for record in _records(one.path):
                store.files.remove(record)
            store.files.remove(one.path)
            gone += one.bytes
        finally:
            if key is not None:
                store.leases.give_back(key)
    return gone


def _named(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and key of every artifact that a plan names."""
    for row in plan.get("rows", []):
        for field, kind in CHAIN:
            if row[field] is not None:
                yield kind, row[field]
        for kind, key, _ in row.get("earlier", ()):
            yield kind, key


def _unnamed(entries: list[Entry], sizes: _Sizes, wanted: set[tuple[str, str]]) -> list[Waste]:
    """Return artifacts that no plan names."""
    found = []
    for kind, folder in FOLDERS.items():
        keys = {
            name
            for entry in entries
            if entry.path.startswith(f"{folder}/")
            and KEY.fullmatch(name := re.split(r"[/.]", entry.path)[1])
        }
        for key in sorted(keys):
            if (kind, key) not in wanted:
                found.append(sizes.waste(body_path(kind, key), f"{kind} that no plan names"))
                if kind == "ticket":
                    found.append(sizes.waste(record_path(kind, key), "its record"))
    audits = (
        PurePosixPath(entry.path).stem for entry in entries if entry.path.startswith(f"{AUDITS}/")
    )
    found += [
        sizes.waste(audit_path(key), "audit of a ticket that no plan names")
        for key in audits
        if KEY.fullmatch(key) and ("ticket", key) not in wanted
    ]
    return found


def _unread(entries: list[Entry], sizes: _Sizes, kept: list[dict[str, Any]]) -> list[Waste]:
    """Return bundles that the leaderboard of no plan reads."""
    read = {
        bundle_of(rows) for plan in kept for rows in read_together(plan.get("rows", [])).values()
    }
    return [
        sizes.waste(entry.path, "copies of results that no plan reads together")
        for entry in entries
        if entry.path.startswith(f"{BUNDLES}/") and entry.path not in read
    ]


def _leftovers(
    store: Store, entries: list[Entry], sizes: _Sizes, wanted: set[tuple[str, str]]
) -> list[Waste]:
    """Return what was set aside, and checkpoints of finished states."""
    roots = {
        entry.path[: match.end(0)].rstrip("/")
        for entry in entries
        if (match := BROKEN.search(entry.path)) and not entry.path.startswith(f"{PLANS}/")
    }
    found = [sizes.waste(path, "set aside as broken") for path in sorted(roots)]
    under_way = {
        entry.path.split("/")[1]
        for entry in entries
        if re.match(r"states/\w+/checkpoints/", entry.path)
    }
    found += [
        sizes.waste(f"states/{key}/checkpoints", "checkpoints of a finished state")
        for key in sorted(under_way)
        if ("state", key) in wanted and store.is_finished("state", key)
    ]
    return found


def _of_ray(entries: list[Entry], sizes: _Sizes, now: float) -> list[Waste]:
    """Return what Ray and Tune left, unless a run showed within a day that it lives.

    They may write there seldom, but while a run works it holds leases, and in a folder its pool keeps a
    file in `ray`.
    """
    signs = [one for one in entries if one.path.split("/")[0] in (*OF_RAY, LEASES)]
    if not all(_is_old(one, now) for one in signs):
        return []
    tops = {entry.path.split("/")[0] for entry in entries}
    return [
        sizes.waste(name, "what Ray left; it is no memory of anything")
        for name in OF_RAY
        if name in tops
    ]


def _is_old(one: Waste | Entry, now: float) -> bool:
    """Return whether something was surely written more than a day ago."""
    return one.modified is not None and now - one.modified > GRACE_DAYS * DAY


class _Sizes:
    """Bytes and time of every file and folder of a listing, counted once."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._found: dict[str, tuple[int, float | None]] = {}
        for entry in entries:
            parts = entry.path.split("/")
            for length in range(1, len(parts) + 1):
                path = "/".join(parts[:length])
                size, last = self._found.get(path, (0, None))
                times = [one for one in (last, entry.modified) if one is not None]
                self._found[path] = size + entry.bytes, max(times, default=None)

    def waste(self, path: str, reason: str) -> Waste:
        size, modified = self._found.get(path, (0, None))
        return Waste(path, reason, size, modified)


def _inside(path: str, found: dict[str, Waste]) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:length]) in found for length in range(1, len(parts)))


def _records(path: str) -> list[str]:
    """Return the record in an artifact's folder: without it the rest does not count."""
    folder, _, key = path.partition("/")
    if not KEY.fullmatch(key):
        return []
    return [record_path(kind, key) for kind, name in FOLDERS.items() if name == folder]
