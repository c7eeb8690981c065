"""The same commands as jobs of a Ray cluster: submit."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ksl_bench.cli import suites, sweep
from ksl_bench.cli.common import JsonOption, complain, err, open_store, out, quiet_libraries
from ksl_bench.errors import ConfigError

if TYPE_CHECKING:  # Ray takes seconds to import
    from ksl_bench.jobs.client import Jobs
    from ksl_bench.jobs.command import Command

app = typer.Typer(
    no_args_is_help=True,
    epilog="Examples:\n\n  ksl-bench submit -- run quickstart\n\n"
    "  ksl-bench submit --address http://head:8265 --env HF_TOKEN -- run my_suite.yaml "
    "--storage s3://bucket/results\n\n"
    "  ksl-bench submit --no-wait -- sweep selection_size --seed-offset today\n\n"
    "  ksl-bench submit logs JOB",
)

PASSED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The id that submit printed.")]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="The cluster's job server; else $RAY_ADDRESS, else http://127.0.0.1:8265.",
    ),
]


@dataclass(frozen=True, slots=True)
class Options:
    """What stands before the command that is submitted."""

    address: str | None
    no_wait: bool
    wait: float | None
    environment: tuple[str, ...]
    working_dir: Path
    exclude: tuple[str, ...]
    python: str | None


@app.callback()
def submit(
    context: typer.Context,
    address: ServerOption = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the job's id and do not follow it.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait", metavar="SECONDS", min=0, help="Let the cluster grow for so long first."
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="KEY", help="Pass this variable on; secrets go sealed."),
    ] = None,
    working_dir: Annotated[
        Path,
        typer.Option(
            "--working-dir", metavar="DIR", help="Goes along: suites, recipes, small data."
        ),
    ] = Path(),
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="What of it stays behind."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", help="The interpreter at the head that has ksl-bench."),
    ] = None,
) -> None:
    """Run a suite or a sweep as a job of a Ray cluster, and look after such jobs."""
    context.obj = Options(
        address=address,
        no_wait=no_wait,
        wait=wait,
        environment=tuple(env or ()),
        working_dir=working_dir,
        exclude=tuple(exclude or ()),
        python=python,
    )


@app.command(context_settings=PASSED, add_help_option=False)
def run(context: typer.Context) -> int:
    """Run a suite as a job; takes what `ksl-bench run` takes."""
    return _submit(context, "run")


@app.command("sweep", context_settings=PASSED, add_help_option=False)
def sweep_(context: typer.Context) -> int:
    """Run a sweep as a job; takes what `ksl-bench sweep` takes."""
    return _submit(context, "sweep")


@app.command(epilog="Example:\n\n  ksl-bench submit status run-quickstart-20261123-091500-3f2a")
def status(
    context: typer.Context,
    job: JobArgument,
    address: ServerOption = None,
    json_: JsonOption = False,
) -> int:
    """Tell how a job is doing."""
    details = _jobs(context, address).details(job)
    told: dict[str, Any] = {
        "job": job,
        "status": details.status.value,
        "exit_code": details.driver_exit_code,
        "started": _iso(details.start_time),
        "ended": _iso(details.end_time),
        "message": " ".join(str(details.message or "").split())[:500],
        "command": details.entrypoint,
    }
    if json_:
        print(json.dumps(told, indent=2))
        return 0
    for name, value in told.items():
        out.print(f"{name:10} {'' if value is None else value}", markup=False, soft_wrap=True)
    return 0


@app.command(epilog="Example:\n\n  ksl-bench submit logs run-quickstart-20261123-091500-3f2a")
def logs(
    context: typer.Context,
    job: JobArgument,
    address: ServerOption = None,
    follow: Annotated[bool, typer.Option("--follow", help="Until the job has ended.")] = False,
) -> int:
    """Print what a job has printed."""
    jobs = _jobs(context, address)
    if follow:
        return _follow(jobs, job)
    _show(jobs.logs(job))
    return 0


@app.command(epilog="Example:\n\n  ksl-bench submit stop run-quickstart-20261123-091500-3f2a")
def stop(context: typer.Context, job: JobArgument, address: ServerOption = None) -> int:
    """Stop a job; what is finished is kept, and the same command goes on."""
    stopped = _jobs(context, address).stop(job)
    out.print(f"{job} {'is being stopped' if stopped else 'had ended before'}", markup=False)
    return 0


def _jobs(context: typer.Context, address: str | None) -> Jobs:
    from ksl_bench.jobs.client import Jobs

    return Jobs(address or context.obj.address)


def _iso(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _submit(context: typer.Context, verb: str) -> int:
    """Check the command as if it were run here, then send it."""
    quiet_libraries()
    options: Options = context.obj
    command = _checked(verb, list(context.args), options)
    from ksl_bench.jobs.client import Job
    from ksl_bench.jobs.command import entrypoint, is_here, split_environment
    from ksl_bench.jobs.package import write_package

    plain, secret = split_environment(options.environment, os.environ)
    jobs = _jobs(context, None)
    entry = entrypoint(command, here=is_here(jobs.address), python=options.python)
    if differences := jobs.differences():
        raise ConfigError(differences)
    with tempfile.TemporaryDirectory(prefix="ksl-bench-") as folder:
        package = Path(folder) / "working_dir.zip"
        write_package(options.working_dir, package, exclude=options.exclude)
        # The job's log is read on this terminal.
        environment = {"COLUMNS": str(out.width), **plain, **_sealed(secret)}
        job = jobs.submit(Job(f"{verb}-{command.name}", entry, package, environment))
    there = f" --address {options.address}" if options.address else ""
    out.print(f"{job} is submitted to {jobs.address}", markup=False, soft_wrap=True)
    if options.no_wait:
        for what in ("status", "logs", "stop"):
            out.print(f"  ksl-bench submit {what} {job}{there}", markup=False, soft_wrap=True)
        return 0
    return _follow(jobs, job)


def _checked(verb: str, arguments: list[str], options: Options) -> Command:
    """Parse and check a command with what would run it.

    Raises:
        KslBenchError: If it would be refused.
    """
    from ksl_bench.jobs.command import Command
    from ksl_bench.space import load_space
    from ksl_bench.suite import load_suite, with_new_seeds

    parser: Any = typer.main.get_command(suites.app if verb == "run" else sweep.app)
    given = (
        getattr(parser, "commands", {verb: parser})[verb].make_context(verb, [*arguments]).params
    )
    if given["address"] is not None:
        raise ConfigError(
            f"--address: belongs before `-- {verb}`; the job itself runs at the cluster"
        )
    if given["wait"] is None and options.wait is not None:
        arguments = [*arguments, "--wait", f"{options.wait:g}"]
    subject = given["suite" if verb == "run" else "space"]
    changes, offset = given["set_"] or [], given["seed_offset"]
    if verb == "sweep":
        name = load_space(subject, changes, seed_offset=offset).spec.name
    else:
        suite = load_suite(subject, changes, stored=open_store(given["storage"]).plans.read)
        name = suite.name if offset is None else with_new_seeds(suite, offset).name
    arguments = [_inside(one, options.working_dir) if one == subject else one for one in arguments]
    storage = given["storage"] or os.environ.get("KSL_BENCH_STORAGE")
    return Command(verb, name, tuple(arguments), storage)


def _inside(subject: str, working_dir: Path) -> str:
    """Return a suite's name, or its path in the folder that goes along.

    Raises:
        ConfigError: If it is a file outside that folder.
    """
    if not subject.endswith((".yaml", ".yml")):
        return subject
    try:
        return str(Path(subject).resolve().relative_to(working_dir.resolve()))
    except ValueError:
        raise ConfigError(
            f"{subject}: does not go along, for it is not in --working-dir {working_dir.resolve()}"
        ) from None


def _sealed(secret: dict[str, str]) -> dict[str, str]:
    """Return the one variable that holds the secret ones.

    Raises:
        ConfigError: If there is no token to seal them with.
    """
    from ksl_bench.auth import ray_token
    from ksl_bench.jobs.sealing import SEALED, seal

    if not secret:
        return {}
    token = ray_token()
    if token is None:
        raise ConfigError(
            f"--env: {', '.join(sorted(secret))} would show on the dashboard of a cluster without a token; "
            "start the cluster with RAY_AUTH_MODE=token, or set it there"
        )
    return {SEALED: seal(secret, token)}


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _follow(jobs: Jobs, job: str) -> int:
    """Show a job's log until it ends; on Ctrl-C ask whether it is to end, too."""
    from ksl_bench.jobs.client import ended

    try:
        code, said = ended(jobs.follow(job, _show))
    except KeyboardInterrupt:
        if sys.stdin.isatty() and typer.confirm("\nStop the job?", err=True):
            jobs.stop(job)
            complain([f"{job} is being stopped; what is finished is kept"])
        else:
            complain([f"{job} goes on; ksl-bench submit stop {job} ends it"])
        return 130
    err.print(f"{job}: {said}", markup=False, soft_wrap=True)
    return code
