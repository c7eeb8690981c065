"""The command line: parse, call one function, print.

Exit codes: 0 all finished; 1 some work failed; 2 the input was wrong (one line a problem on stderr,
nothing started).
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from ksl_bench import __version__
from ksl_bench.auth import require_token
from ksl_bench.cli import (
    certify,
    clean,
    compare,
    submit,
    suites,
    sweep,
    ticket_search,
    tickets,
    translate,
)
from ksl_bench.cli.common import complain
from ksl_bench.errors import KslBenchError
from ksl_bench.jobs.sealing import unseal_environment


def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def _assemble() -> typer.Typer:
    whole = typer.Typer(
        name="ksl-bench",
        help="Benchmark KS-Lottery against LoRA, prefix tuning, full fine-tuning and embedding tuning.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    whole.callback(invoke_without_command=True)(_version)
    whole.add_typer(suites.app)
    whole.add_typer(sweep.app)
    whole.add_typer(compare.app)
    whole.add_typer(clean.app)
    whole.add_typer(submit.app, name="submit")
    tickets.app.add_typer(ticket_search.app)
    whole.add_typer(tickets.app, name="ticket")
    whole.add_typer(translate.app)
    whole.add_typer(certify.app)
    return whole


app = _assemble()


def main() -> None:
    """Run the command line; user errors become one line each and exit code 2."""
    require_token()
    try:
        unseal_environment()
        code = app(standalone_mode=False)
    except TyperException as error:
        complain(
            filter(None, [error.format_message()])
        )  # without arguments the help page says it all
        code = 2
    except KslBenchError as error:
        complain(error.problems)
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        complain(["interrupted; what is finished is kept, the same command goes on"])
        code = 130
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)
