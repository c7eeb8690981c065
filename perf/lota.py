"""What LoTA holds in memory while it trains, against full fine-tuning.

    python perf/lota.py [--hidden 512] [--layers 8] [--sparsity 0.9 0.99] [--device auto] [--json]

A Llama with random weights, fp32, one batch of prompts of about 60 tokens with about 20 labels, PyTorch's
AdamW over what trains, logits at labels as in the suite's loop. Masks are drawn at random over all attention
and MLP weights, as many entries as a LoTA mask of that sparsity keeps. Each way runs in a process of its own,
on one thread.

`optimizer` is AdamW's two moments, counted exactly. `peak` is what three steps take above the loaded base
model, of resident memory on a CPU and of PyTorch's allocations on a GPU: gradients, moments, activations, and
for LoTA the places of its entries. `of full` are the ratios to full fine-tuning in the same run.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from partial_step import make_examples, make_model
from torch import nn
from transformers import LlamaForCausalLM

from ksl_bench.data.batching import IGNORED, collate
from ksl_bench.lottery.entries import ENTRY_CRITERIA, EntryEvidence, pick_entries
from ksl_bench.lottery.mask import Mask
from ksl_bench.measure import hardware, package_versions, peak_memory, reset_peak_memory
from ksl_bench.methods import build_method
from ksl_bench.methods.base import trainable_parameters
from ksl_bench.methods.scope import linear_layers
from ksl_bench.training.loop import LabelPositions

STEPS = 3
FULL = 0.0
"""Stands for full fine-tuning among the sparsities."""


@dataclass(frozen=True)
class Measured:
    """What one way takes."""

    way: str
    trainable_parameters: int
    optimizer_bytes: int
    peak_bytes: int | None
    """Above the loaded base model."""


def make_mask(model: LlamaForCausalLM, sparsity: float) -> Mask:
    shapes = {name: tuple(one.weight.shape) for name, one in linear_layers(model).items()}
    evidence = EntryEvidence(shapes=shapes, task_vector=None, seed=0)
    return Mask(
        base_model="random",
        revision=None,
        base_digest="0" * 64,
        tensor="layers",
        criterion="random_entries",
        sparsity=sparsity,
        source_state=None,
        shapes=shapes,
        places=pick_entries(ENTRY_CRITERIA["random_entries"], evidence, sparsity=sparsity),
    )


def attach(model: LlamaForCausalLM, mask: Mask | None) -> nn.Module:
    method = build_method("full" if mask is None else "lota", {})
    return method.attach(model, ticket=mask, seed=0).train()


def train(model: nn.Module, options: argparse.Namespace) -> tuple[int, int]:
    """Train some steps; return how many parameters train, and the bytes of the moments."""
    parameters = list(trainable_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    labels, device = LabelPositions(model), torch.device(options.device)
    micro = collate(make_examples(options.batch, options.vocab), pad_id=options.vocab - 1)
    targets_BL = micro.labels_BL.to(device)
    mask_BL = targets_BL != IGNORED
    for _ in range(STEPS):
        logits_NV = labels.logits(model, micro.input_ids_BL.to(device), mask_BL)
        F.cross_entropy(logits_NV.float(), targets_BL[mask_BL]).backward()
        optimizer.step()
        optimizer.zero_grad()
    held = sum(
        one.nbytes
        for state in optimizer.state.values()
        for one in state.values()
        if isinstance(one, torch.Tensor) and one.ndim
    )
    return sum(one.numel() for one in parameters), held


def measure(options: argparse.Namespace, sparsity: float) -> Measured:
    """Measure one way, in this process."""
    device = torch.device(options.device)
    # A small model first: what the libraries take once is not the method's.
    small = argparse.Namespace(**{**vars(options), "hidden": 64, "layers": 1})
    tiny = make_model(small, options.vocab)
    train(attach(tiny, make_mask(tiny, sparsity) if sparsity else None), small)
    del tiny
    model = make_model(options, options.vocab)
    mask = make_mask(model, sparsity) if sparsity else None
    gc.collect()
    reset_peak_memory(device)
    before = peak_memory(device)["allocated"]
    count, held = train(attach(model, mask), options)
    peak = peak_memory(device)["allocated"]
    extra = None if before is None or peak is None else peak - before
    return Measured(f"lota s={sparsity:g}" if sparsity else "full", count, held, extra)


def measured(options: argparse.Namespace, sparsity: float) -> Measured:
    """Measure one way in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--one", str(sparsity)]
    for name in ("hidden", "layers", "batch", "vocab", "device"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        # Else glibc keeps freed tensors of many MiB or not, by chance.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def ratio(one: int | None, full: int | None) -> float | None:
    return None if one is None or not full else one / full


def with_ratios(rows: list[Measured]) -> list[dict[str, Any]]:
    full = rows[0]
    return [
        {
            **asdict(one),
            "parameters_of_full": ratio(one.trainable_parameters, full.trainable_parameters),
            "optimizer_of_full": ratio(one.optimizer_bytes, full.optimizer_bytes),
            "peak_of_full": ratio(one.peak_bytes, full.peak_bytes),
        }
        for one in rows
    ]


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'way':<14}{'trainable':>12}{'of full':>9}{'optimizer MiB':>15}{'of full':>9}"
        f"{'peak MiB':>10}{'of full':>9}"
    ]
    for one in rows:
        peak = "" if one["peak_bytes"] is None else f"{one['peak_bytes'] / 2**20:,.0f}"
        shares = [one[f"{name}_of_full"] for name in ("parameters", "optimizer", "peak")]
        told = ["" if share is None else f"{share:.3f}" for share in shares]
        lines.append(
            f"{one['way']:<14}{one['trainable_parameters']:>12,}{told[0]:>9}"
            f"{one['optimizer_bytes'] / 2**20:>15,.1f}{told[1]:>9}{peak:>10}{told[2]:>9}"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocab", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.99])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("vocab", "hidden", "layers", "batch"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(options, name)}")
    if not all(0 < one < 1 for one in options.sparsity):
        parser.error(f"--sparsity must be between 0 and 1, got {options.sparsity}")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    if options.one is not None:
        print(json.dumps(asdict(measure(options, options.one))))
        return
    rows = with_ratios([measured(options, sparsity) for sparsity in (FULL, *options.sparsity)])
    machine = hardware(torch.device(options.device))
    if options.json:
        report = {
            "date": time.strftime("%Y-%m-%d"),
            "options": vars(options),
            "hardware": machine,
            "versions": package_versions(),
            "ways": rows,
        }
        print(json.dumps(report, indent=2))
        return
    sizes = f"width {options.hidden}, {options.layers} layers, batch {options.batch}"
    print(f"{sizes}, {machine['device']}\n{table(rows)}")


if __name__ == "__main__":
    main()
