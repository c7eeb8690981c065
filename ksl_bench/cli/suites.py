"""Commands over suites: run, plan, leaderboard, list, doctor, track."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ksl_bench.cli.common import (
    AddressOption,
    JsonOption,
    RetryOption,
    SeedOffsetOption,
    SetOption,
    StorageOption,
    SuiteArgument,
    WaitOption,
    err,
    open_store,
    out,
    quiet_libraries,
)
from ksl_bench.errors import KslBenchError
from ksl_bench.registry import unknown

if TYPE_CHECKING:  # the libraries behind these take seconds to import
    from ksl_bench.config import Suite
    from ksl_bench.leaderboard import Board
    from ksl_bench.store import Store

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n  ksl-bench run quickstart\n\n"
    "  ksl-bench run quickstart --set seeds=[0,1,2] --set train.steps=200\n\n"
    "  ksl-bench run my_suite.yaml --storage s3://bucket/results --address auto"
)
def run(
    suite: SuiteArgument,
    set_: SetOption = None,
    storage: StorageOption = None,
    address: AddressOption = None,
    retry: RetryOption = False,
    wait: WaitOption = None,
    seed_offset: SeedOffsetOption = None,
    json_: JsonOption = False,
) -> int:
    """Run a suite: what is missing is made, what is finished is kept."""
    from ksl_bench.leaderboard import as_json, read_board
    from ksl_bench.runner import run_suite
    from ksl_bench.suite import load_suite, with_new_seeds

    quiet_libraries()
    store = open_store(storage)
    wanted = load_suite(suite, set_ or [], stored=store.plans.read)
    if seed_offset is not None:
        wanted = with_new_seeds(wanted, seed_offset)
    console = err if json_ else out
    # Ray prints what it has to say of lost workers to stdout, which is for the JSON alone.
    with contextlib.redirect_stdout(sys.stderr) if json_ else contextlib.nullcontext():
        complete = run_suite(
            wanted, store=store, address=address, retry=retry, wait=wait or 0.0, console=console
        )
    board = read_board(store, wanted.name)
    if json_:
        print(as_json(board))
    else:
        _show(board)
        _next_steps(store, suite, set_ or [], wanted)
    return 0 if complete else 1


def _show(board: Board, console: Console = out) -> None:
    from ksl_bench.leaderboard import (
        as_tables,
        caption,
        reasons,
        remarks,
        told_verdicts,
        verdict_title,
    )

    for table in as_tables(board, width=console.width):
        console.print(table)
    console.print(caption(board), style="dim italic", markup=False, highlight=False)
    for line in reasons(board.rows):
        console.print(line, style="red", markup=False)
    for line in remarks(board):
        console.print(line, markup=False, highlight=False)
    for condition, verdicts in told_verdicts(board):
        console.print(f"\n{verdict_title(board, condition)}", style="bold", highlight=False)
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column(overflow="fold")
        for baseline in dict.fromkeys(one.baseline for one in verdicts):
            clauses = [one.brief for one in verdicts if one.baseline == baseline]
            table.add_row(baseline, escape("; ".join(clauses)))
        console.print(table)


def _next_steps(store: Store, given: str, changes: Sequence[str], suite: Suite) -> None:
    from ksl_bench.auth import masked
    from ksl_bench.tracking import tracking_uri

    elsewhere = Path(store.root) != Path("ksl-results").resolve()
    here = ["--storage", store.root] if elsewhere else []
    tracking = masked(tracking_uri(store, suite.tracking.uri))
    sets = [part for one in (*changes, "seeds=[0,1,2]") for part in ("--set", one)]
    served = tracking.startswith(("http://", "https://"))
    out.print("\nGo on with", markup=False)
    for command in (
        shlex.join(["ksl-bench", "leaderboard", suite.name, "--format", "json", *here]),
        tracking if served else shlex.join(["mlflow", "ui", "--backend-store-uri", tracking]),
        shlex.join(["ksl-bench", "run", given, *sets, *here]),
    ):
        out.print(f"  {command}", markup=False, soft_wrap=True, highlight=False)


@app.command(epilog="Example:\n\n  ksl-bench plan paper_llama7b_eng_cat --json")
def plan(
    suite: SuiteArgument,
    set_: SetOption = None,
    storage: StorageOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what a suite would do: artifacts, parameters, memory, hours. Needs no weights."""
    from ksl_bench.describe import describe_plan

    quiet_libraries()
    described = describe_plan(suite, set_ or [], open_store(storage))
    if json_:
        print(json.dumps(described, indent=2))
        return
    from ksl_bench.leaderboard import human_bytes

    table = Table(title=f"{described['suite']}: {described['model']}", title_justify="left")
    heads = (
        "baseline",
        "needs",
        "states",
        "trainable",
        "memory per worker",
        "device hours",
        "cost",
    )
    for name in heads:
        left = name in ("baseline", "needs")
        # A name that is cut short tells no row from another.
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for row in described["baselines"]:
        cells = (
            row["baseline"],
            row["needs"] or "",
            "" if row["states"] is None else f"{row['states']}",
            "unknown"
            if row["trainable_parameters"] is None
            else f"{row['trainable_parameters']:,}",
            human_bytes(row["memory_bytes"]["total"]) if row["memory_bytes"] else "",
            "" if row["device_hours"] is None else f"{row['device_hours']:.2f}",
            "" if row["money"] is None else f"{row['money']:.2f}",
        )
        table.add_row(*cells)
    out.print(table)
    out.print(described["note"], markup=False)


@app.command(
    epilog="Examples:\n\n  ksl-bench leaderboard quickstart --format csv > board.csv\n\n"
    "  ksl-bench leaderboard quickstart --format html --output quickstart.html"
)
def leaderboard(
    suite: Annotated[
        str | None, typer.Argument(help="Name of a suite; all where none is given.")
    ] = None,
    storage: StorageOption = None,
    format_: Annotated[
        str,
        typer.Option("--format", help="table, json, csv, markdown, latex, or html: a report."),
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write there, not to stdout.")
    ] = None,
) -> None:
    """Show the results of a suite, failed rows with their reason."""
    from ksl_bench.leaderboard import FORMATS, read_board

    formats = ("table", *FORMATS, "html")
    if format_ not in formats:
        raise KslBenchError(unknown("format", format_, formats))
    store = open_store(storage)
    names = (
        [Path(suite).stem if suite.endswith((".yaml", ".yml")) else suite]
        if suite
        else store.plans.names()
    )
    if not names:
        raise KslBenchError(f"--storage: nothing is stored in {store.root}")
    if format_ in ("html", "json", "csv") and len(names) > 1:  # one document each
        raise KslBenchError(f"--format {format_}: name one suite of {', '.join(names)}")
    text = io.StringIO()
    for name in names:
        board = read_board(store, name)
        if format_ == "table":
            _show(board, out if output is None else Console(file=text, width=out.width))
        elif format_ == "html":
            from ksl_bench.report import as_html

            quiet_libraries()
            print(as_html(board, store), file=text)
        else:
            print(FORMATS[format_](board), file=text)
    _deliver(text.getvalue(), output)


def _deliver(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file and say so."""
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise KslBenchError(f"--output: cannot write {output}: {error.strerror}") from None
    err.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)


@app.command("list", epilog="Example:\n\n  ksl-bench list baselines")
def list_(
    what: Annotated[
        str, typer.Argument(help="suites, baselines, methods, criteria, prompts or spaces.")
    ],
    json_: JsonOption = False,
) -> None:
    """List what there is to choose from."""
    from ksl_bench.describe import LISTINGS

    entries = LISTINGS[what]()
    if json_:
        print(json.dumps(entries, indent=2))
        return
    table = Table(box=None, show_header=False)
    for name, description in entries.items():
        table.add_row(name, escape(description.replace("\n", "\\n")))
    out.print(table)


@app.command()
def doctor(
    suite: Annotated[str | None, typer.Argument(help="Also check what this suite needs.")] = None,
    storage: StorageOption = None,
    json_: JsonOption = False,
) -> int:
    """Tell what will fail, before it does: versions, devices, storage, tokenizer files, hub."""
    from ksl_bench.doctor import examine

    quiet_libraries()
    findings = examine(open_store(storage), suite)
    if json_:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        table = Table(box=None, show_header=False)
        for finding in findings:
            mark = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "error": "[red]error[/]"}
            table.add_row(mark[finding.level], finding.what, escape(finding.said))
        out.print(table)
    return 1 if any(finding.level == "error" for finding in findings) else 0


@app.command(epilog="Example:\n\n  ksl-bench track --sync --storage ./ksl-results")
def track(
    sync: Annotated[bool, typer.Option("--sync", help="Write to MLflow.")] = False,
    uri: Annotated[str | None, typer.Option("--uri", help="The MLflow server or database.")] = None,
    storage: StorageOption = None,
) -> None:
    """Bring MLflow up to date with the store; calling it twice changes nothing."""
    from ksl_bench.tracking import Tracker

    if not sync:
        raise KslBenchError("track: say --sync to write to MLflow")
    store = open_store(storage)
    names = store.plans.names()
    if not names:  # a nightly job with a wrong path must not look fine
        raise KslBenchError(f"--storage: nothing is stored in {store.root}")
    for name in names:
        plan = store.plans.read(name)
        if plan is not None:
            Tracker(store, uri=uri or plan["suite"]["tracking"]["uri"]).sync(name)
            out.print(f"{name}: MLflow is up to date", markup=False)
