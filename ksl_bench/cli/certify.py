"""The certificate audit: certify."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from ksl_bench.cli.common import JsonOption, StorageOption, open_store, out, quiet_models
from ksl_bench.errors import ConfigError, KslBenchError

app = typer.Typer()

KS_COLUMNS = (
    "k",
    "agree",
    "where base\ndiffers",
    "certified",
    "of changed\nprefixes",
    "viola-\ntions",
    "median\nsum D",
    "median\ngap/2",
)
SMOOTHING_COLUMNS = (
    "k",
    "sigma",
    "same\nprefix",
    "tested",
    "certi-\nfied",
    "viola-\ntions",
    "median\nR",
    "largest\nR",
    "median\n|delta|",
    "R/\n|delta|",
    "alpha x\ntested",
)


@app.command(
    epilog="Examples:\n\n"
    "  ksl-bench certify --base tiny-base --tuned DIR --ticket FILE --text devtest.tsv\n\n"
    "  ksl-bench certify --suite quickstart --smoothed-positions 0\n\n"
    "  ksl-bench certify --counterexample"
)
def certify(
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="Base model: folder or Hugging Face id."),
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option("--tuned", metavar="MODEL", help="The model with the tuned embedding."),
    ] = None,
    ticket: Annotated[
        Path | None, typer.Option("--ticket", metavar="FILE", help="The ticket's file.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="Lines of source, tab, target; UTF-8."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            help="Audit the tickets that a suite transferred, on what it scores; the leaderboard tells it.",
        ),
    ] = None,
    storage: StorageOption = None,
    counterexample: Annotated[
        bool, typer.Option("--counterexample", help="Show that the KS-sum rule is not sound.")
    ] = False,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="A prompt's name, or text; else explicit.")
    ] = None,
    source_language: Annotated[
        str | None, typer.Option("--source-language", metavar="CODE", help="Of the text; else eng.")
    ] = None,
    target_language: Annotated[
        str | None, typer.Option("--target-language", metavar="CODE", help="Of the text; else cat.")
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option("--k", help="Rows taken over; else 4, 18, 64 and all of the ticket."),
    ] = None,
    sigma: Annotated[
        list[float] | None, typer.Option("--sigma", help="Noise; else 0.05 and 0.1.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", help="Noisy draws that bound a radius.")
    ] = 1000,
    smoothed_positions: Annotated[
        int, typer.Option("--smoothed-positions", help="At least as many are smoothed; 0 for none.")
    ] = 50,
    alpha: Annotated[float, typer.Option("--alpha", help="Error of one position's bound.")] = 0.001,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws sentences and noise.")] = 0,
    precision: Annotated[
        Literal["fp32", "bf16"] | None,
        typer.Option("--precision", help="Of the weights, as in the ticket's suite; else fp32."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use the first sentences only.")
    ] = None,
    positions: Annotated[
        Path | None,
        typer.Option("--positions", metavar="FILE", help="Write a JSON line a position."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Audit a ticket: what two certificates claim, beside what the models do."""
    from ksl_bench.audit.files import Question, certify_files
    from ksl_bench.audit.predictions import Smoothing

    quiet_models()
    smoothing = Smoothing(
        sigmas=tuple(dict.fromkeys(sigma or Smoothing().sigmas)),
        draws=samples,
        positions=smoothed_positions,
        alpha=alpha,
        seed=seed,
    )
    if suite is not None:
        given: dict[str, object] = {
            "base": base,
            "tuned": tuned,
            "ticket": ticket,
            "text": text,
            "positions": positions,
            "k": k,
            "counterexample": counterexample or None,
            "prompt": prompt,
            "source-language": source_language,
            "target-language": target_language,
            "precision": precision,
        }
        _refuse(f"--{name}" for name, value in given.items() if value is not None)
        _certify_suite(suite, storage, smoothing, limit, json_=json_)
        return
    question = Question(
        base=base,
        tuned=tuned,
        ticket=ticket,
        text=text,
        counterexample=counterexample,
        prompt=prompt or "explicit",
        source_language=source_language or "eng",
        target_language=target_language or "cat",
        sizes=tuple(k or ()),
        precision=precision or "fp32",
        limit=limit,
        smoothing=smoothing,
    )
    if positions is not None and not positions.parent.is_dir():
        raise KslBenchError(f"positions: no such folder: {positions.parent}")
    found = certify_files(question)
    if positions is not None:
        _write_lines(positions, found.records)
    if json_:
        print(json.dumps(found.report, indent=2, allow_nan=False))
    else:
        _show(found.report)


def _refuse(options: Iterable[str]) -> None:
    problems = [f"{one}: not with --suite, which brings its own" for one in options]
    if problems:
        raise ConfigError(problems)


def _certify_suite(
    suite: str, storage: str | None, smoothing: Any, limit: int | None, *, json_: bool
) -> None:
    from ksl_bench.audit.suites import certify_suite

    def tell(found: dict[str, Any]) -> None:
        name = f"{found['baseline']}, {found['condition']}, seed {found['seed']}"
        out.print(f"\n{name}", markup=False, highlight=False)
        _show(found)

    store = open_store(storage)
    shown = (lambda found: None) if json_ else tell
    audits = certify_suite(store, suite, smoothing=smoothing, limit=limit, tell=shown)
    if json_:
        print(json.dumps(audits, indent=2, allow_nan=False))
    else:
        kept = f"kept for `ksl-bench leaderboard {suite}` in {store.root}/audits"
        out.print(f"\n{kept}", markup=False, highlight=False, soft_wrap=True)


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(one, allow_nan=False) + "\n" for one in records)
    except OSError as error:
        raise KslBenchError(f"positions: {path} cannot be written: {error.strerror}") from None


def _show(report: dict[str, Any]) -> None:
    out.print(f"Certified is {report['certified']}.", markup=False, highlight=False)
    for one in report["assumptions"]:
        mark = {True: "holds", False: "BROKEN", None: "not checked"}[one["holds"]]
        out.print(f"  assumed: {one['statement']}: {mark}", markup=False, highlight=False)
    out.print(
        f"{report['positions']} positions of {report['sentences']} sentences; base and tuned model "
        f"differ at {report['base_and_tuned_differ']}\n",
        markup=False,
        highlight=False,
    )
    out.print(_ks_table(report["tickets"]))
    if any(one["smoothing"] for one in report["tickets"]):
        out.print(_smoothing_table(report))
    for note in report["notes"]:
        out.print(f"\n{note}", markup=False, highlight=False)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _ks_table(tickets: list[dict[str, Any]]) -> Table:
    table = _table(
        "Agreement with the tuned model, and the KS-sum rule (not sound)",
        KS_COLUMNS,
    )
    for one in tickets:
        rule, agreement = one["ks_sum"], one["agreement"]
        table.add_row(
            str(one["k"]),
            _percent(agreement["share"]),
            _percent(agreement["contested_share"]),
            f"{rule['certified']} ({_percent(rule['certified_share'])})",
            str(rule["certified_where_prefix_changed"]),
            str(rule["violations"]),
            _number(rule["median_distance_sum"]),
            _number(rule["median_half_gap"]),
        )
    return table


def _smoothing_table(report: dict[str, Any]) -> Table:
    how = report["smoothing"]
    table = _table(
        f"\nGaussian smoothing of {len(how['sampled_sentences'])} sentences, N = {how['draws']}, "
        f"alpha = {how['alpha']:g} a position",
        SMOOTHING_COLUMNS,
    )
    for one in report["tickets"]:
        for row in one["smoothing"]:
            table.add_row(
                str(one["k"]),
                f"{row['sigma']:g}",
                str(row["unchanged"]),
                str(row["tested"]),
                str(row["certified"]),
                str(row["violations"]),
                _number(row["median_radius"]),
                _number(row["largest_possible_radius"]),
                _number(row["median_delta"]),
                _number(row["median_radius_over_delta"]),
                f"{row['bonferroni']:.3g}",
            )
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
