"""One training step of partial tuning, against PEFT's TrainableTokens, LoRA, embedding tuning and full.

    python perf/partial_step.py [--vocab 32000 128000] [--rounds 15] [--device auto] [--json]

A small Llama with random weights, fp32, and one batch of prompts of about 60 tokens with about 20 labels. A
step is forward, backward and PyTorch's AdamW over what trains. All ways step in turn in one process, on one
thread, in a new order each round: seconds are medians over the rounds, and `times` is the median over the
rounds of a way's seconds by those of partial tuning in the same round; on the clock, and of the processor
(which other work on the machine disturbs less, and which a GPU's work is not in).

The suite's loop computes logits at labels only, whatever the method: so do the ways of `logits: labels`,
through the loop's own hook. Those of `logits: all` call the model as a user of PEFT does, with `labels`.

Memory is measured in a process of its own for each way: what three steps take above the loaded base model,
of resident memory on a CPU and of PyTorch's allocations on a GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import peft
import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ksl_bench.data.batching import IGNORED, Encoded, collate
from ksl_bench.estimate import stand_in_ticket
from ksl_bench.measure import hardware, package_versions, peak_memory, reset_peak_memory
from ksl_bench.methods import build_method
from ksl_bench.methods.base import trainable_parameters
from ksl_bench.methods.peft_model import attach_peft
from ksl_bench.training.loop import LabelPositions

TICKET_ROWS = 18
WARM_UP_STEPS = 2
MEMORY_STEPS = 3
SETTINGS: dict[str, dict[str, Any]] = {"lora": {"target_modules": ("q_proj", "v_proj")}}


@dataclass(frozen=True)
class Way:
    """A method, and where its logits are computed."""

    method: str
    logits: str

    def __str__(self) -> str:
        return f"{self.method}, {self.logits}"


PARTIAL = Way("partial_tuning", "labels")
WAYS = (
    PARTIAL,
    Way("trainable_tokens", "labels"),
    Way("lora", "labels"),
    Way("embedding", "labels"),
    Way("full", "labels"),
    Way("partial_tuning", "all"),
    Way("trainable_tokens", "all"),
)


@dataclass(frozen=True)
class Measured:
    """What a step of one way takes."""

    vocab: int
    method: str
    logits: str
    trainable_parameters: int
    step_seconds: float
    cpu_seconds: float
    times: float
    """The step's seconds by those of partial tuning with logits at labels."""
    cpu_times: float
    memory_bytes: int | None
    """The peak above the loaded base model."""


def make_model(options: argparse.Namespace, vocab: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 11008 // 4096,  # as LLaMA-7B has it
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64),
        tie_word_embeddings=False,
        use_cache=False,
    )
    torch.manual_seed(0)
    with torch.device(options.device):
        return LlamaForCausalLM(config)


def attach(way: Way, model: LlamaForCausalLM) -> nn.Module:
    if way.method == "trainable_tokens":
        config = peft.TrainableTokensConfig(
            token_indices=list(range(TICKET_ROWS)), task_type="CAUSAL_LM"
        )
        return attach_peft(model, config, seed=0, field="trainable_tokens")
    method = build_method(way.method, SETTINGS.get(way.method, {}))
    ticket = stand_in_ticket(TICKET_ROWS) if method.needs_ticket else None
    return method.attach(model, ticket=ticket, seed=0)


def make_examples(batch: int, vocab: int) -> list[Encoded]:
    """Make prompts of 50 to 70 tokens, the ticket's among them, and responses of 15 to 25."""
    draw = random.Random(0)
    ticket = range(TICKET_ROWS)

    def others(count: int) -> list[int]:
        return [draw.randrange(TICKET_ROWS, vocab) for _ in range(count)]

    examples = []
    for _ in range(batch):
        prompt = [*ticket, *others(draw.randint(50, 70) - TICKET_ROWS)]
        draw.shuffle(prompt)
        examples.append(Encoded(tuple(prompt), tuple(others(draw.randint(15, 25)))))
    return examples


class Trainer:
    """A model with a method attached, and what steps it."""

    def __init__(self, way: Way, model: LlamaForCausalLM, options: argparse.Namespace) -> None:
        """Attach the way's method to a fresh model, which is consumed."""
        self.model = attach(way, model).train()
        parameters = trainable_parameters(self.model).values()
        self.trainable = sum(one.numel() for one in parameters)
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0)
        self.labels = LabelPositions(self.model) if way.logits == "labels" else None
        self.device = torch.device(options.device)
        vocab: int = model.config.vocab_size
        micro = collate(make_examples(options.batch, vocab), pad_id=vocab - 1)
        self.input_ids_BL = micro.input_ids_BL.to(self.device)
        self.targets_BL = micro.labels_BL.to(self.device)
        self.losses: list[float] = []

    def loss(self) -> torch.Tensor:
        """Return the mean cross entropy over the labels."""
        if self.labels is not None:
            mask_BL = self.targets_BL != IGNORED
            logits_NV = self.labels.logits(self.model, self.input_ids_BL, mask_BL)
            return F.cross_entropy(logits_NV.float(), self.targets_BL[mask_BL])
        # Models shift labels themselves; the loop's are shifted already.
        labels_BL = self.targets_BL.roll(1, dims=1)
        outputs = self.model(input_ids=self.input_ids_BL, labels=labels_BL, use_cache=False)
        found: torch.Tensor = outputs.loss
        return found

    def step(self) -> tuple[float, float]:
        """Train one step; return its seconds, on the clock and of the processor."""
        self._wait()
        started, used = time.perf_counter(), time.process_time()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._wait()
        seconds = time.perf_counter() - started, time.process_time() - used
        self.losses.append(loss.item())
        return seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure_memory(way: Way, options: argparse.Namespace, vocab: int) -> int | None:
    """Return the peak of some steps above the loaded model, in this process."""
    device = torch.device(options.device)
    # A small model first: what the libraries take once is not the method's.
    Trainer(way, make_model(options, 1000), options).step()
    model = make_model(options, vocab)
    gc.collect()
    reset_peak_memory(device)
    before = peak_memory(device)["allocated"]
    trainer = Trainer(way, model, options)
    for _ in range(MEMORY_STEPS):
        trainer.step()
    peak = peak_memory(device)["allocated"]
    return None if before is None or peak is None else peak - before


def memory_of(way: Way, options: argparse.Namespace, vocab: int) -> int | None:
    """Measure a way's memory in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--memory-of", str(WAYS.index(way))]
    for name in ("hidden", "layers", "batch", "device"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(
        [*command, "--vocab", str(vocab)],
        check=True,
        capture_output=True,
        text=True,
        # Else glibc keeps freed tensors of many MiB or not, by chance, and the peak varies by half.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    found: int | None = json.loads(done.stdout.splitlines()[-1])
    return found


def check(trainers: dict[Way, Trainer]) -> None:
    """See that all ways had the same task: one loss at first, and one for equal methods at the end."""
    first = trainers[PARTIAL].losses[0]
    for way, trainer in trainers.items():
        assert math.isclose(trainer.losses[0], first, rel_tol=1e-4), f"{way}: {trainer.losses[0]}"
        if way.method in (PARTIAL.method, "trainable_tokens"):
            last = trainers[PARTIAL].losses[-1]
            assert math.isclose(trainer.losses[-1], last, rel_tol=1e-4), f"{way}: another end"


Seconds = tuple[list[float], list[float]]
"""Of each round, on the clock and of the processor."""


def time_steps(options: argparse.Namespace, vocab: int) -> dict[Way, tuple[int, Seconds]]:
    """Return what trains, and the seconds of each round, of every way."""
    ways = [way for way in WAYS if way == PARTIAL or way.method in options.methods]
    trainers = {way: Trainer(way, make_model(options, vocab), options) for way in ways}
    found: dict[Way, tuple[int, Seconds]] = {
        way: (trainers[way].trainable, ([], [])) for way in ways
    }
    draw = random.Random(0)
    for number in range(WARM_UP_STEPS + options.rounds):
        for way in draw.sample(ways, len(ways)):
            taken = trainers[way].step()
            if number >= WARM_UP_STEPS:
                for kept, one in zip(found[way][1], taken, strict=True):
                    kept.append(one)
    check(trainers)
    return found


def times(seconds: list[float], reference: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(seconds, reference, strict=True))


def compare(options: argparse.Namespace, vocab: int) -> list[Measured]:
    timed = time_steps(options, vocab)
    gc.collect()
    if options.device == "cuda":
        torch.cuda.empty_cache()
    rows = []
    for way, (trainable, (wall, cpu)) in timed.items():
        reference_wall, reference_cpu = timed[PARTIAL][1]
        rows.append(
            Measured(
                vocab=vocab,
                method=way.method,
                logits=way.logits,
                trainable_parameters=trainable,
                step_seconds=statistics.median(wall),
                cpu_seconds=statistics.median(cpu),
                times=times(wall, reference_wall),
                cpu_times=times(cpu, reference_cpu),
                memory_bytes=memory_of(way, options, vocab),
            )
        )
    return rows


def table(rows: list[Measured]) -> str:
    lines = [
        f"{'method':<18}{'logits':<8}{'trainable':>12}{'ms a step':>11}{'times':>7}"
        f"{'cpu ms':>9}{'times':>7}{'extra MiB':>11}"
    ]
    for one in rows:
        memory = "" if one.memory_bytes is None else f"{one.memory_bytes / 2**20:,.0f}"
        lines.append(
            f"{one.method:<18}{one.logits:<8}{one.trainable_parameters:>12,}"
            f"{1000 * one.step_seconds:>11.1f}{one.times:>7.2f}"
            f"{1000 * one.cpu_seconds:>9.1f}{one.cpu_times:>7.2f}{memory:>11}"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocab", type=int, nargs="+", default=[32_000, 128_000])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    names = list(dict.fromkeys(way.method for way in WAYS))
    parser.add_argument("--methods", nargs="+", choices=names, default=names)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("hidden", "layers", "batch", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(options, name)}")
    if min(options.vocab) <= TICKET_ROWS:
        parser.error(f"--vocab must be > {TICKET_ROWS}, got {min(options.vocab)}")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    if options.memory_of is not None:
        print(json.dumps(measure_memory(WAYS[options.memory_of], options, options.vocab[0])))
        return
    rows = [row for vocab in options.vocab for row in compare(options, vocab)]
    machine = hardware(torch.device(options.device))
    if options.json:
        report = {
            "options": vars(options),
            "hardware": machine,
            "versions": package_versions(),
            "steps": [asdict(one) for one in rows],
        }
        print(json.dumps(report, indent=2))
        return
    print(
        f"width {options.hidden}, {options.layers} layers, batch {options.batch}, {machine['device']}"
    )
    for vocab in options.vocab:
        print(f"\nvocabulary {vocab:,}")
        print(table([row for row in rows if row.vocab == vocab]))


if __name__ == "__main__":
    main()
