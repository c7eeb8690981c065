"""Step time, tokens a second and peak memory of each method on one GPU, through the real training loop.

    python perf/gpu_check.py [--json FILE]

A randomly initialised Llama of about 1 B parameters, bf16, DeepSpeed ZeRO-2; no Ray, no MLflow, no download.
Without a GPU it says so and exits with 3. `--device cpu` with small sizes checks the script itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from ksl_bench import measure
from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.estimate import stand_in_ticket
from ksl_bench.methods import build_method
from ksl_bench.methods.base import trainable_parameters
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Checkpoint, Run, StepMetrics, Worker

METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "embedding": {},
    "partial_tuning": {},
    "lora": {},
    "prefix": {},
}
TICKET_ROWS = 18
WARM_UP_STEPS = 3
NO_DEVICE = 3


class NoCheckpoints:
    """Nothing is resumed, nothing is saved."""

    def latest(self) -> Checkpoint | None:
        """There is none."""
        return None

    def save(self, step: int, state: dict[str, torch.Tensor], shard: bytes) -> None:
        """Forget it."""


def make_model(options: argparse.Namespace) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 11008 // 4096,  # as LLaMA-7B has it
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 128),
        max_position_embeddings=max(2048, options.length),
        tie_word_embeddings=False,
        use_cache=False,
    )
    torch.manual_seed(0)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    with torch.device(options.device):
        return LlamaForCausalLM(config).to(dtype)


def make_examples(options: argparse.Namespace) -> list[Encoded]:
    """Make full-length examples: half prompt, half response, the ticket's tokens in every one."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(TICKET_ROWS, options.vocab, (64, options.length), generator=draw)
    ids[:, :TICKET_ROWS] = torch.arange(TICKET_ROWS)
    half = options.length // 2
    return [Encoded(tuple(row[:half]), tuple(row[half:])) for row in ids.tolist()]


def measure_method(name: str, options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    spec = TrainSpec(
        learning_rate=1e-5,
        steps=WARM_UP_STEPS + options.steps,
        global_batch_size=options.batch,
        micro_batch_size=options.batch,
        precision=options.precision,
        max_seq_length=options.length,
    )
    method = build_method(name, METHODS[name])
    model = make_model(options)
    total = sum(one.numel() for one in model.parameters())
    attached = method.attach(
        model, ticket=stand_in_ticket(TICKET_ROWS) if method.needs_ticket else None, seed=0
    )
    trainable = sum(one.numel() for one in trainable_parameters(attached).values())
    steps: list[StepMetrics] = []
    run = Run(
        attached,
        make_examples(options),
        spec=spec,
        zero_stage=options.zero_stage,
        seed=0,
        pad_id=0,
        worker=Worker(device=device),
    )
    measure.reset_peak_memory(device)
    outcome = run.train(NoCheckpoints(), steps.append)
    seconds = statistics.median(one.seconds for one in steps[WARM_UP_STEPS:])
    found = {
        "method": name,
        "status": outcome.status,
        "total_parameters": total,
        "trainable_parameters": trainable,
        "step_seconds": seconds,
        "tokens_per_second": steps[-1].tokens / seconds,
        **{f"peak_{kind}_bytes": count for kind, count in measure.peak_memory(device).items()},
    }
    del run, model, attached, outcome
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found


def show(rows: list[dict[str, Any]], title: str) -> None:
    table = Table(title=title)
    for name in ("method", "trainable", "ms a step", "tokens/s", "peak MiB", "reserved MiB"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        reserved = row["peak_reserved_bytes"]
        table.add_row(
            row["method"],
            f"{row['trainable_parameters']:,}",
            f"{1000 * row['step_seconds']:.1f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['peak_allocated_bytes'] / 2**20:,.0f}",
            "" if reserved is None else f"{reserved / 2**20:,.0f}",
        )
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--vocab", type=int, default=32000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--zero-stage", type=int, choices=(0, 1, 2, 3), default=2)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured")
        return NO_DEVICE
    join_process_group()
    rows = [measure_method(name, options) for name in options.methods]
    hardware = measure.hardware(torch.device(options.device))
    title = (
        f"{rows[0]['total_parameters'] / 1e9:.2f} B parameters, {options.precision}, ZeRO-"
        f"{options.zero_stage}, {options.batch} x {options.length} tokens, {hardware['device']}"
    )
    show(rows, title)
    if options.json:
        report = {
            "options": {name: str(value) for name, value in vars(options).items()},
            "hardware": hardware,
            "versions": measure.package_versions(),
            "methods": rows,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
