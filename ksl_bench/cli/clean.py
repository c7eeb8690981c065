"""What may go from a store: clean."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ksl_bench.cli.common import JsonOption, StorageOption, err, open_store, out

if TYPE_CHECKING:
    from ksl_bench.cleaning import Waste

app = typer.Typer()


@app.command(epilog="Examples:\n\n  ksl-bench clean\n\n  ksl-bench clean --older-than 30 --yes")
def clean(
    storage: StorageOption = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            help="Also suites and sweeps not run for so long.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    json_: JsonOption = False,
) -> int:
    """Show what may go from a store, and delete it once that is confirmed."""
    from ksl_bench.cleaning import broken_plans, find_waste, remove_waste

    store = open_store(storage)
    waste = find_waste(store, older_than_days=older_than)
    broken = broken_plans(store)
    for path in broken:
        err.print(
            f"{store.files.location(path)}: a broken plan; artifacts and bundles that no plan names stay, "
            "for it may have named them: run its suite or sweep again, then remove this file",
            markup=False,
            soft_wrap=True,
        )
    if not json_:
        out.print(_table(waste) if waste else f"nothing may go from {store.root}", markup=False)
    agreed = bool(waste) and (yes or (sys.stdin.isatty() and typer.confirm("Delete this?")))
    freed = remove_waste(store, waste) if agreed else 0
    if json_:
        found = {
            "waste": [asdict(one) for one in waste],
            "broken_plans": broken,
            "deleted_bytes": freed,
        }
        print(json.dumps(found, indent=2))
    elif agreed:
        out.print(f"{freed / 2**20:.1f} MiB are free again", markup=False)
    elif waste:
        out.print("nothing was deleted; --yes deletes it", markup=False)
    return 0


def _table(waste: list[Waste]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("what may go", overflow="fold")
    table.add_column("why")
    table.add_column("MiB", justify="right")
    for one in waste:
        table.add_row(one.path, one.reason, f"{one.bytes / 2**20:.1f}")
    table.add_section()
    table.add_row(f"{len(waste)} in all", "", f"{sum(one.bytes for one in waste) / 2**20:.1f}")
    return table
