"""Text in, text out: translate."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ksl_bench.cli.common import quiet_models

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n  echo 'The dog sees a cat.' | ksl-bench translate --ticket ks18.safetensors\n\n"
    "  ksl-bench translate --model ./llama --source-language eng --target-language deu < in > out"
)
def translate(
    model: Annotated[
        str, typer.Option("--model", help="A folder, a Hugging Face id, or tiny-base.")
    ] = "tiny-base",
    ticket: Annotated[
        Path | None,
        typer.Option(
            "--ticket",
            metavar="FILE",
            help="A ticket with values, put into the model first.",
        ),
    ] = None,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt", help="A name of `ksl-bench list prompts`, or a text with {source} in it."
        ),
    ] = "explicit",
    source_language: Annotated[str, typer.Option("--source-language", metavar="CODE")] = "eng",
    target_language: Annotated[str, typer.Option("--target-language", metavar="CODE")] = "cat",
    rule: Annotated[
        str,
        typer.Option(
            "--rule", help="What to take of an output: raw, first_line or prompt_restart."
        ),
    ] = "first_line",
    num_beams: Annotated[int, typer.Option("--num-beams", min=1)] = 1,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 256,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 32,
) -> None:
    """Translate the lines of standard input, one line out for each; an empty line stays empty."""
    from ksl_bench.config import DecodingSpec
    from ksl_bench.lottery.ticket import Ticket
    from ksl_bench.tickets.apply import apply_ticket, check_values, load_base
    from ksl_bench.tickets.translate import Wording, text_lines, translate_lines

    quiet_models()
    wording = Wording(
        prompt=prompt, source_language=source_language, target_language=target_language, rule=rule
    )
    found = None if ticket is None else Ticket.load(ticket)
    if found is not None:
        check_values(found)
    base = load_base(model, found)
    if found is not None:
        apply_ticket(found, base)
    decoding = DecodingSpec(
        num_beams=num_beams, max_new_tokens=max_new_tokens, batch_size=batch_size
    )
    lines = text_lines(sys.stdin.buffer, name="standard input")
    try:
        for block in translate_lines(base, lines, wording=wording, decoding=decoding):
            sys.stdout.write("".join(f"{line}\n" for line in block))
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has read enough; what is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
