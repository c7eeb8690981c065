"""compare and contrast: two results of one suite, two rows of one result."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ksl_bench.cli.common import JsonOption, StorageOption, open_store, out
from ksl_bench.errors import KslBenchError

if TYPE_CHECKING:  # the libraries behind it take seconds to import
    from ksl_bench.leaderboard.compare import Comparison, Side
    from ksl_bench.store import Store

app = typer.Typer()

_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T(\d{2}):?(\d{2})(?::?(\d{2}))?Z?)?")

_KINDS = {
    "same": "same",
    "not_shown": "no change shown",
    "better": "[green]better[/]",
    "worse": "[red]worse[/]",
    "not_comparable": "[yellow]not comparable[/]",
    "appeared": "appeared",
    "gone": "[red]gone[/]",
    "broke": "[red]broke[/]",
    "mended": "[green]mended[/]",
}


@app.command(
    epilog="Examples:\n\n  ksl-bench compare ./released ./candidate --suite quickstart --bound 1\n\n"
    "  ksl-bench compare 2026-11-23 2026-11-24 --suite nightly --storage s3://bucket/results"
)
def compare(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A storage, or a date (UTC) of --storage.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same, to be held against A.")],
    suite: Annotated[
        str | None, typer.Option("--suite", help="Name of the suite, where A and B share several.")
    ] = None,
    bound: Annotated[
        float | None,
        typer.Option(
            "--bound",
            metavar="POINTS",
            min=0,
            help="Exit 1 where a row is shown to lose more than this, or its result is gone.",
        ),
    ] = None,
    storage: StorageOption = None,
    json_: JsonOption = False,
) -> int:
    """Compare two results of one suite: what changed, and whether chance explains it."""
    from ksl_bench.leaderboard.compare import compare as compare_sides

    stores = [open_store(storage if _is_date(one) else one) for one in (before, after)]
    name = _suite(stores, suite)
    sides = [
        _side(store, name, given) for store, given in zip(stores, (before, after), strict=True)
    ]
    found = compare_sides(*sides)
    lost = [one for one in found.changes if bound is not None and one.loses(bound)]
    if json_:
        told = {**asdict(found), "suite": name, "bound": bound}
        told["regressions"] = [one.baseline for one in lost]
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(found, name)
        for one in lost:
            out.print(f"regression: {one.baseline} ({one.scored_under})", style="red", markup=False)
    return 1 if lost else 0


@app.command(
    epilog="Example:\n\n  ksl-bench contrast controls ks_partial_k18 frequency_k18 --condition response"
)
def contrast(
    suite: Annotated[str, typer.Argument(help="Name of a suite that was run.")],
    first: Annotated[str, typer.Argument(help="A baseline.")],
    second: Annotated[str, typer.Argument(help="Another baseline.")],
    condition: Annotated[
        str | None, typer.Option("--condition", help="Where the suite has several.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="Extraction rule; else that of the verdicts.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Else the first that the suite names.")
    ] = None,
    storage: StorageOption = None,
    json_: JsonOption = False,
) -> None:
    """Compare two baselines: the difference over seeds, and tests on the sentences of each seed."""
    from ksl_bench.leaderboard.contrast import contrast as contrast_rows

    store = open_store(storage)
    found = contrast_rows(
        store, suite, first, second, condition=condition, rule=rule, metric=metric
    )
    if json_:
        print(json.dumps(found, indent=2))
        return
    _show_contrast(found)


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None


def _suite(stores: list[Store], wanted: str | None) -> str:
    shared = [name for name in stores[0].plans.names() if name in stores[1].plans.names()]
    if wanted is None and len(shared) == 1:
        return shared[0]
    if wanted is None:
        known = ", ".join(shared) or "none"
        raise KslBenchError(f"--suite: name one that both have: {known}")
    return wanted


def _side(store: Store, suite: str, given: str) -> Side:
    """Return one side; of a date it is the last plan that was written by then."""
    from ksl_bench.leaderboard.board import plan_of
    from ksl_bench.leaderboard.compare import Side

    match = _DATE.fullmatch(given)
    if match is None:
        return Side(store, suite)
    year, month, day, *clock = match.groups()
    hour, minute, second = clock if clock[0] else ("23", "59", "59")
    until = f"{year}{month}{day}T{hour}{minute}{second or '59'}Z"
    last = plan_of(store, suite).get("written_at", "")
    stamps = [*store.plans.past(suite), last]
    known = [stamp for stamp in stamps if stamp and stamp <= until]
    if not known:
        there = ", ".join(stamps)
        raise KslBenchError(f"{given}: nothing of suite {suite} is that old; there is {there}")
    return Side(store, suite, None if known[-1] == last else known[-1])


def _show(found: Comparison, suite: str) -> None:
    table = Table(
        title=f"{suite}: {found.metric}, {found.rule}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    several = len({one.scored_under for one in found.changes}) > 1
    for name in ("baseline", "A", "B", "B - A", "p", "hours", "memory", ""):
        table.add_column(name, justify="left" if name in ("baseline", "") else "right")
    for one in found.changes:
        where = f" ({one.condition}, {one.scored_under})" if several else ""
        gap = one.difference
        table.add_row(
            escape(one.baseline + where),
            _number(one.before),
            _number(one.after),
            "" if gap is None else f"{gap['value']:+.1f} \\[{gap['low']:+.1f}, {gap['high']:+.1f}]",
            "" if gap is None else f"{gap['adjusted_p_value']:.3f}",
            _times(one.cost["device_hours"]),
            _times(one.cost["peak_memory"]),
            _KINDS[one.kind] + (escape(f": {one.note}") if one.note else ""),
        )
    out.print(table)
    out.print(
        "p: corrected for the number of rows (Holm). hours, memory: B over A.",
        markup=False,
        highlight=False,
    )
    for line in found.settings:
        out.print(f"differs: {line}", markup=False, highlight=False, soft_wrap=True)


def _show_contrast(found: dict[str, Any]) -> None:
    told = f"{found['first']} less {found['second']}: {_verdict(found)}"
    out.print(told, markup=False, highlight=False)
    if found["no_sentence_tests"]:
        told = f"no tests on the sentences: {found['no_sentence_tests']}"
        out.print(told, markup=False, highlight=False)
        return
    table = Table(
        title="of these trained models only",
        title_justify="left",
        caption="paired bootstrap: sacrebleu's p, about half of a two-sided one",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("seed", "test", "difference", "p", "draws"):
        table.add_column(name, justify="left" if name == "test" else "right")
    for one in found["sentence_tests"]:
        table.add_row(
            str(one["seed"]),
            one["test"],
            f"{one['difference']:+.2f}",
            f"{one['p_value']:.4f}",
            f"{one['resamples']:,}",
        )
    out.print(table)


def _verdict(found: dict[str, Any]) -> str:
    gap, why = found["difference"], f", {found['reason']}" if found["reason"] else ""
    if gap is None:
        return f"not comparable{why}"
    return (
        f"{gap['value']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}] {found['metric']}, "
        f"{found['rule']}, over {gap['speaks_of']}; p = {gap['p_value']:.3g} of one planned "
        f"comparison; within {found['margin']:g}: {found['verdict'].replace('_', '-')}{why}"
    )


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.1f}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"
