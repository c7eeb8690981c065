"""Commands that find tickets and tell how stable they are: ticket find, ticket stability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ksl_bench.cli.common import JsonOption, StorageOption, open_store, out, quiet_models
from ksl_bench.cli.tickets import print_ticket

app = typer.Typer()

SIZES = (4, 18, 64)

FIND_EXAMPLES = (
    "Examples:\n\n"
    "  ksl-bench ticket find --before base/ --after tuned/ --k 18 --output cat.safetensors\n\n"
    "  ksl-bench ticket find --before base/ --after tuned/ --alpha 0.05 --json\n\n"
    "  ksl-bench ticket find --before base/ --criterion frequency --k 18 --text train.tsv --json"
)
STABILITY_EXAMPLES = (
    "Example:\n\n  ksl-bench run stability\n\n  ksl-bench ticket stability stability --k 18"
)


@app.command(epilog=FIND_EXAMPLES)
def find(
    before: Annotated[
        str,
        typer.Option("--before", metavar="MODEL|FILE", help="The base, also a Hugging Face id."),
    ],
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="MODEL|FILE", help="The same model after tuning."),
    ] = None,
    criterion: Annotated[
        str, typer.Option("--criterion", help="See `ksl-bench list criteria`.")
    ] = "ks",
    k: Annotated[int | None, typer.Option("--k", help="How many rows.")] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Take the rows with a p-value below it.")
    ] = None,
    scope: Annotated[
        str,
        typer.Option("--scope", help="input_embedding, output_head, or a pattern of modules."),
    ] = "input_embedding",
    tensor: Annotated[
        str | None, typer.Option("--tensor", help="Which tensor of a bare safetensors file.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="Tuning text, TSV or JSONL: for counts."),
    ] = None,
    prompt: Annotated[str, typer.Option("--prompt", help="A prompt's name, or text.")] = "explicit",
    source_language: Annotated[str, typer.Option("--source-language", metavar="CODE")] = "eng",
    target_language: Annotated[str, typer.Option("--target-language", metavar="CODE")] = "cat",
    seed: Annotated[int, typer.Option("--seed", min=0, help="For criteria that draw.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the ticket here.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Find a ticket from two checkpoints; no suite needed."""
    from ksl_bench.config import TranslationSpec
    from ksl_bench.tickets.find import Search, find_ticket
    from ksl_bench.tickets.folders import check_free

    quiet_models()
    if output is not None:
        check_free(output)
    files = str(text)
    task = TranslationSpec(
        source_language=source_language,
        target_language=target_language,
        prompt=prompt,
        train_files=files,
        dev_files=files,
        devtest_files=files,
    )
    search = Search(
        before=before,
        after=after,
        criterion=criterion,
        k=k,
        alpha=alpha,
        scope=scope,
        tensor=tensor,
        task=task if text is not None else None,
        seed=seed,
    )
    found = find_ticket(search)
    if output is not None:
        found.save(output)
    if json_:
        print(json.dumps(found.header(), indent=2, ensure_ascii=False))
        return
    print_ticket(found)
    if output is not None:
        out.print(f"written to {output}", markup=False, highlight=False, soft_wrap=True)


@app.command(epilog=STABILITY_EXAMPLES)
def stability(
    suite: Annotated[str, typer.Argument(help="A suite that was run, with embedding tuning.")],
    k: Annotated[list[int] | None, typer.Option("--k", help="Sizes; else 4, 18 and 64.")] = None,
    storage: StorageOption = None,
    json_: JsonOption = False,
) -> None:
    """Tell how far tickets agree across seeds (the ceiling), prompts, samples and languages."""
    from ksl_bench.tickets.stability import measure_stability

    quiet_models()
    found = measure_stability(open_store(storage), suite, tuple(k or SIZES))
    if json_:
        print(json.dumps(found, indent=2))
        return
    out.print(_overlaps(found))
    out.print(_regressions(found))
    if found["missing"]:
        out.print(f"not finished: {', '.join(found['missing'])}", style="red", markup=False)


def _overlaps(found: dict[str, Any]) -> Table:
    table = _table(
        f"{found['suite']}: rows that two KS orders share among their first k",
        "mean over the pairs (lowest-highest). What two seeds of one condition share is the ceiling of all "
        "others; those are compared over pairs of different seeds, too. Conditions that differ in more "
        "than one thing: --json.",
        ("differs in", "pairs", *(f"k={k}" for k in found["sizes"]), "rank\ncorrelation"),
    )
    single = [one for one in found["comparisons"] if " and " not in one["differs"]]
    for one in single or found["comparisons"]:
        shared = [
            f"{cell['mean']:.1f} ({cell['lowest']}-{cell['highest']})"
            for cell in one["overlap"].values()
        ]
        correlation = one["rank_correlation"]
        table.add_row(
            one["differs"],
            str(one["pairs"]),
            *shared,
            "" if correlation is None else f"{correlation:.2f}",
        )
    return table


def _regressions(found: dict[str, Any]) -> Table:
    table = _table(
        "Rank of a row regressed on its token's count and on standing in the prompt",
        "ranks, with 95 % intervals over rows; negative: comes earlier in the order.",
        ("run", "rows", "a doubling of\nthe count", "a token of\nthe prompt", "R2"),
    )
    for one in found["regressions"]:
        if "rows" not in one:
            continue
        table.add_row(
            f"{one['condition']} seed {one['seed']}",
            str(one["rows"]),
            _effect(one["log_count"]),
            _effect(one["template"]),
            f"{one['r_squared']:.2f}",
        )
    return table


def _table(title: str, caption: str, columns: tuple[str, ...]) -> Table:
    table = Table(
        title=title,
        caption=escape(caption),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", overflow="fold")
    return table


def _effect(effect: dict[str, float] | None) -> str:
    if effect is None:
        return ""
    return f"{effect['value']:+.0f} ({effect['low']:+.0f} to {effect['high']:+.0f})"
