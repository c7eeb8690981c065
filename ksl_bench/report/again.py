"""How to make the same results again: the commands, held against the configuration they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ksl_bench.errors import KslBenchError
from ksl_bench.leaderboard import Board
from ksl_bench.store import Store

_END = "...\n"
"""What YAML writes behind a lone scalar."""
_MOST = 12
"""Assignments above which a command line is no help."""


@dataclass(frozen=True, slots=True)
class Again:
    """Commands, and how sure it is that they give the same."""

    commands: tuple[str, ...]
    note: str


def how_again(board: Board, store: Store) -> Again:
    """Return the commands that repeat a suite.

    A suite that is found by its name is loaded, and the fields that the stored plan has otherwise are
    given by `--set`. Only what then is equal to the plan is called the same.
    """
    name, wanted = board.suite, board.plan["suite"]
    sets = _assignments(name, wanted, store)
    # A run over the same store would find everything finished.
    folder = "--storage again"
    given = name if sets is not None else f"{name}.yaml"
    run = " ".join(["ksl-bench run", given, *map(_quoted, sets or ()), folder])
    show = f"ksl-bench leaderboard {name} {folder} --format html --output {name}.html"
    if sets is not None:
        note = "Held against this version's files: the command gives the configuration above, field by field."
    else:
        note = (
            f"{name}.yaml stands for the file that the suite was run from: it is none of those that come "
            "with this version, or has changed since. The configuration above is what it said."
        )
    return Again((run, show), note)


def _quoted(assignment: str) -> str:
    quoted = assignment.replace("'", "'\\''")
    return f"--set '{quoted}'"


def _assignments(name: str, wanted: Mapping[str, Any], store: Store) -> tuple[str, ...] | None:
    """Return the `--set` that lead from the files of a name to a plan; None where none do."""
    from ksl_bench.suite import load_suite  # which imports the methods, and they take seconds

    def loaded(assignments: Sequence[str]) -> dict[str, Any]:
        suite = load_suite(name, assignments, stored=store.plans.read)
        return dict(suite.model_dump(mode="json", by_alias=True))

    try:
        found = loaded(())
        if found == wanted:
            return ()
        sets = tuple(_differing(_by_name(found), _by_name(wanted)))
        return sets if len(sets) <= _MOST and loaded(sets) == wanted else None
    except KslBenchError:
        return None


def _by_name(suite: Mapping[str, Any]) -> dict[str, Any]:
    return {**suite, "baselines": {one["name"]: one for one in suite["baselines"]}}


def _differing(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping) and found.keys() == wanted.keys():
        for name in wanted:
            yield from _differing(found[name], wanted[name], f"{path}.{name}" if path else name)
    elif found != wanted:
        value = yaml.safe_dump(wanted, default_flow_style=True, width=10**6, allow_unicode=True)
        yield f"{path}={value.removesuffix(_END).strip()}"
