"""Plans of suites and sweeps, by name: the last of each, and the earlier ones that said something else.

suites/<name>.json           of the last run
suites/<name>@<stamp>.json   an earlier one, and when it was first written
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ksl_bench.store.files import Files
from ksl_bench.store.layout import NAME, PLANS, STAMP, plan_path
from ksl_bench.store.records import parse_object, render_object


class Plans:
    """Reads and writes plans."""

    def __init__(self, files: Files) -> None:
        """Take where they are."""
        self._files = files

    def write(self, name: str, plan: Mapping[str, Any]) -> None:
        """Write the plan of the last run of a suite; an earlier one that says something else is kept.

        Unless it is a sweep's that had not ended: such a one is written again and again on the way.

        `written_at` says when a plan was first written; the file's own time is that of the last run.
        """
        last, stamp = self.read(name), datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        if last is not None and "written_at" in last:
            if {**_as_read(plan), "written_at": last["written_at"]} == last:
                stamp = last["written_at"]
            elif last.get("sweep", {}).get("ended", True):
                self._files.write(plan_path(name, last["written_at"]), render_object(last))
        self._files.write(plan_path(name), render_object({**plan, "written_at": stamp}))

    def read(self, name: str, at: str | None = None) -> dict[str, Any] | None:
        """Return the plan of a suite, None if there is none; a broken one is set aside.

        Args:
            name: Of the suite.
            at: The stamp of an earlier one, see `past`; the last where none is given.
        """
        path = plan_path(name, at)
        content = self._files.read(path)
        if content is None:
            return None
        plan = parse_object(content)
        if plan is None:
            self._files.set_aside(path, "not a JSON object")
        return plan

    def past(self, name: str) -> list[str]:
        """Return the stamps (UTC, 20261124T023000Z) of a suite's earlier plans, the oldest first."""
        parts = (one.removesuffix(".json").split("@") for one in self._files.names(PLANS))
        return sorted(
            part[1]
            for part in parts
            if len(part) == 2 and part[0] == name and STAMP.fullmatch(part[1])
        )

    def names(self) -> list[str]:
        """Return the names of the suites that have a plan, sorted."""
        names = (
            name.removesuffix(".json")
            for name in self._files.names(PLANS)
            if name.endswith(".json")
        )
        return sorted(name for name in names if NAME.fullmatch(name))


def _as_read(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as it will be read."""
    return parse_object(render_object(plan)) or {}
