"""What the commands share: options, consoles, and how an error is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ksl_bench.errors import KslBenchError

if TYPE_CHECKING:  # the libraries behind it take seconds to import
    from ksl_bench.store import Store

out = Console()
err = Console(stderr=True)

SuiteArgument = Annotated[str, typer.Argument(help="Name of a suite, or path of a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field, e.g. train.steps=50."),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="DIR|URI",
        help="Where artifacts live; else $KSL_BENCH_STORAGE, else ./ksl-results.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="A Ray cluster; this machine where none is given."),
]
RetryOption = Annotated[
    bool,
    typer.Option("--retry", help="Make anew what ran out of memory, diverged or was skipped."),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="Let the cluster grow for so long before giving up.",
    ),
]
SeedOffsetOption = Annotated[
    str | None,
    typer.Option(
        "--seed-offset",
        metavar="today|N",
        help="Add to every seed: what a schedule repeats must be new, or it is found finished.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine.")]


def complain(problems: Iterable[str]) -> None:
    """Print one line a problem on stderr."""
    for problem in problems:
        print(f"error: {' '.join(str(problem).split())}", file=sys.stderr)


def open_store(storage: str | None) -> Store:
    """Return the store that an option, the environment or the default names."""
    from ksl_bench.store import Store

    if storage == "":  # a variable of the shell that is not set
        raise KslBenchError("--storage: must be a folder or a URI, got ''")
    return Store(storage or os.environ.get("KSL_BENCH_STORAGE") or "ksl-results")


def quiet_models() -> None:
    """As `quiet_libraries`, and without the progress bars of models that are loaded."""
    from transformers.utils import logging

    quiet_libraries()
    logging.disable_progress_bar()


def quiet_libraries() -> None:
    """Let libraries say only what a user must know; a worker's own log files keep the rest."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("alembic", "mlflow", "huggingface_hub", "sacrebleu", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
