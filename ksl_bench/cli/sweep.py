"""Search over fields of baselines: sweep."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ksl_bench.cli.common import (
    AddressOption,
    JsonOption,
    RetryOption,
    SeedOffsetOption,
    SetOption,
    StorageOption,
    WaitOption,
    err,
    open_store,
    out,
    quiet_libraries,
)

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n  ksl-bench sweep selection_size\n\n"
    "  ksl-bench sweep learning_rate --set train.steps=60 --set space.seeds=[0,1]\n\n"
    "  ksl-bench sweep my_space.yaml --storage s3://bucket/results --address auto"
)
def sweep(
    space: Annotated[str, typer.Argument(help="Name of a search space, or path of a YAML file.")],
    set_: SetOption = None,
    storage: StorageOption = None,
    address: AddressOption = None,
    retry: RetryOption = False,
    wait: WaitOption = None,
    seed_offset: SeedOffsetOption = None,
    json_: JsonOption = False,
) -> int:
    """Search a space on dev with Ray Tune; called again it goes on, and repeats nothing."""
    from ksl_bench.space import load_space
    from ksl_bench.sweeper import run_sweep

    quiet_libraries()
    wanted, store = load_space(space, set_ or [], seed_offset=seed_offset), open_store(storage)
    with contextlib.redirect_stdout(sys.stderr) if json_ else contextlib.nullcontext():
        found = run_sweep(
            wanted,
            store=store,
            address=address,
            retry=retry,
            wait=wait or 0.0,
            console=err if json_ else out,
        )
    if json_:
        print(json.dumps(found, indent=2))
    else:
        out.print(_table(found))
        out.print(f"every row: ksl-bench leaderboard {wanted.spec.name}", markup=False)
    return 0 if found["complete"] else 1


def _table(found: dict[str, Any]) -> Table:
    space = found["space"]
    objective, seeds = space["objective"], len(space["seeds"])
    table = Table(
        title=f"{space['name']}: {objective['metric']} {objective['rule']} on dev, mean of {seeds} "
        f"seed{'s' if seeds > 1 else ''}",
        caption="best first; * is what a suite would take. Chosen on dev: a test of it needs devtest and "
        "fresh seeds.",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("trial", overflow="fold")
    for name in ("score", "steps"):
        table.add_column(name, justify="right")
    winners = set(found["winners"].values())
    order = list(dict.fromkeys(one["baseline"] for one in found["trials"]))
    for one in sorted(
        found["trials"],
        key=lambda one: (order.index(one["baseline"]), -one["steps"], -(one["score"] or -1.0)),
    ):
        score = (
            f"{one['score']:.1f}"
            if one["score"] is not None
            else f"{one['status']}: {one['reason']}"
        )
        mark = " *" if one["trial"] in winners else ""
        table.add_row(one["trial"] + mark, score, str(one["steps"]))
    return table
