"""Commands on ticket files: ticket show, compare, merge, apply, export."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ksl_bench.cli.common import JsonOption, out, quiet_models

if TYPE_CHECKING:  # the libraries behind it take seconds to import
    from ksl_bench.lottery.ticket import Ticket

app = typer.Typer(
    help="Look at winning tickets, put them together, and put them into models.",
    no_args_is_help=True,
)

TicketArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A ticket's file.")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="The model that the ticket is for: a folder, a Hugging Face id, or tiny-base.",
    ),
]
FolderOption = Annotated[
    Path, typer.Option("--output", metavar="FOLDER", help="A folder that is not there, or empty.")
]


@app.command(epilog="Example:\n\n  ksl-bench ticket show ks18.safetensors")
def show(file: TicketArgument, json_: JsonOption = False) -> None:
    """Show a ticket: where it comes from, and its rows, best first."""
    from ksl_bench.lottery.ticket import Ticket

    found = Ticket.load(file)
    if json_:
        print(json.dumps(found.header(), indent=2, ensure_ascii=False))
        return
    print_ticket(found)


def print_ticket(found: Ticket) -> None:
    """Print where a ticket comes from, and its rows."""
    from ksl_bench.cli.ticket_tables import facts, rows_table

    out.print(facts(found))
    out.print(rows_table(found))
    if any(row.p is not None for row in found.rows):
        out.print("p ranks the rows and tests nothing: before and after are paired samples.")


@app.command(
    epilog="Examples:\n\n  ksl-bench ticket compare cat.safetensors deu.safetensors\n\n"
    "  ksl-bench ticket compare cat.safetensors deu.safetensors --k 18 \\\n\n"
    "    --seeds cat.safetensors --seeds cat_seed1.safetensors"
)
def compare(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Ticket files.")],
    k: Annotated[
        list[int] | None,
        typer.Option(
            "--k", min=1, help="First rows to compare, again for each; else 4, 18, 64 and all."
        ),
    ] = None,
    seeds: Annotated[
        list[Path] | None,
        typer.Option(
            "--seeds",
            metavar="FILE",
            help="Tickets that differ in seed alone, again for each: their mean overlap is the ceiling.",
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Compare tickets of one matrix: which rows they share, and whether they order them alike."""
    from ksl_bench.cli.ticket_tables import comparison_tables
    from ksl_bench.lottery.ticket import Ticket
    from ksl_bench.lottery.ticket_compare import compare_tickets

    named = [(str(file), Ticket.load(file)) for file in files]
    among_seeds = [(str(file), Ticket.load(file)) for file in seeds or []]
    found = compare_tickets(named, sizes=k or (), seeds=among_seeds)
    if json_:
        print(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in comparison_tables(named, found):
        out.print(one)


@app.command(
    epilog="Example:\n\n  ksl-bench ticket merge cat.safetensors deu.safetensors --output both.safetensors"
)
def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Ticket files.")],
    output: Annotated[
        Path,
        typer.Option("--output", metavar="FILE", help="The new ticket; nothing is overwritten."),
    ],
    on_conflict: Annotated[
        Literal["mean", "first", "last"] | None,
        typer.Option(
            "--on-conflict", help="What to take of a row with different values; else an error."
        ),
    ] = None,
) -> None:
    """Join tickets of one matrix into one: the rows of all, with their values."""
    from ksl_bench.lottery.ticket import Ticket
    from ksl_bench.lottery.ticket_merge import merge_tickets
    from ksl_bench.tickets.folders import check_free

    check_free(output)
    named = [(str(file), Ticket.load(file)) for file in files]
    merged = merge_tickets(named, on_conflict=on_conflict)
    merged.save(output)
    told = " + ".join(str(one.k) for _, one in named)
    _say(f"{output}: {merged.k} rows from {told}, {output.stat().st_size:,} bytes")


@app.command(
    epilog="Example:\n\n  ksl-bench ticket apply ks18.safetensors --model tiny-base --output with_ks18"
)
def apply(file: TicketArgument, model: ModelOption, output: FolderOption) -> None:
    """Write a new model folder with the ticket's rows in place; weights in float32."""
    from ksl_bench.lottery.ticket import Ticket
    from ksl_bench.tickets.apply import write_applied

    quiet_models()
    found = Ticket.load(file)
    base = write_applied(found, model, output)
    _say(f"{output}: {base.reference.name} with {found.k} rows of its {found.tensor} replaced")


@app.command(
    epilog="Example:\n\n  ksl-bench ticket export ks18.safetensors --model tiny-base --output adapter\n\n"
    "Then, without ksl-bench:\n\n  PeftModel.from_pretrained(model, 'adapter')"
)
def export(
    file: TicketArgument,
    model: ModelOption,
    output: FolderOption,
    format_: Annotated[
        Literal["peft"], typer.Option("--format", help="An adapter that plain PEFT loads.")
    ] = "peft",
) -> None:
    """Write the ticket for other software to load."""
    from ksl_bench.lottery.ticket import Ticket
    from ksl_bench.tickets.export import write_peft

    quiet_models()
    found = Ticket.load(file)
    write_peft(found, model, output)
    size = (output / "adapter_model.safetensors").stat().st_size
    _say(f"{output}: a PEFT adapter of {found.k} rows, {size:,} bytes")


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
