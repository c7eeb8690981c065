"""Started by torchrun from test_zero.py: every method under every ZeRO stage, on these ranks.

Each run trains 6 steps with a checkpoint after 3, is resumed from that checkpoint, and what it saved is
loaded into a fresh attachment. Rank 0 prints one JSON line a run.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass

if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # before what warns is imported

import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.lottery.mask import AnyTicket, Mask
from ksl_bench.lottery.ticket import Ticket, TicketRow
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import Method, load_state, trainable_parameters
from ksl_bench.methods.scope import find_scope, linear_layers
from ksl_bench.suite import find_file, read_yaml
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Checkpoint, Run, Worker

IDS = [7, 3, 199, 40]
LINEAR = "*.mlp.[gu]*_proj"
"""Gate and up of two layers: 256 rows of width 32, stacked; the ticket's lie in three of the weights."""
HYPERPARAMETERS = {"peft": {"peft_type": "IA3", "peft_config": {}}}
"""Of methods that have no default for all of theirs."""
PEFT_RECIPES = ("dora", "layer_norm", "oft", "prompt_tuning", "vera")
"""Baselines of method `peft`, beside its IA3."""
PROBE = torch.tensor([[1, 7, 3, 50, 199, 2]])


class Memory:
    """Checkpoints of one rank, kept here."""

    def __init__(self, kept: dict[int, Checkpoint] | None = None) -> None:
        self.kept = kept or {}

    def latest(self) -> Checkpoint | None:
        return self.kept[max(self.kept)] if self.kept else None

    def save(self, step: int, state: dict[str, torch.Tensor], shard: bytes) -> None:
        self.kept[step] = Checkpoint(step, state, shard)


def model(*, tied: bool, dtype: torch.dtype) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


def ticket(scope: str) -> Ticket:
    rows = tuple(TicketRow(token_id=one, token="", D=None, p=None, l2=None) for one in IDS)
    return Ticket(
        base_model="tiny", revision=None, base_digest="0" * 64, tokenizer_digest=None,
        tensor=scope, criterion="ks", alpha=None, k=len(IDS), source_state=None,
        values="none", rows=rows, row_values=None,
    )  # fmt: skip


def mask(base: LlamaForCausalLM) -> Mask:
    """Every seventh entry of the gate and down projections of the second layer."""
    shapes = {name: tuple(one.weight.shape) for name, one in linear_layers(base).items()}
    names = ("model.layers.1.mlp.gate_proj", "model.layers.1.mlp.down_proj")
    return Mask(
        base_model="tiny", revision=None, base_digest="0" * 64, tensor="layers",
        criterion="magnitude", sparsity=0.9, source_state=None, shapes=shapes,
        places={name: torch.arange(0, shapes[name][0] * shapes[name][1], 7) for name in names},
    )  # fmt: skip


def examples() -> list[Encoded]:
    draw = torch.Generator().manual_seed(0)

    def ids(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (), generator=draw))
        return torch.randint(3, 200, (length,), generator=draw).tolist()

    return [Encoded((1, *ids(5, 10)), (*ids(2, 6), 2)) for _ in range(64)]


@dataclass(frozen=True)
class Case:
    """One run: a method (partial tuning with the scope of its ticket) under a stage."""

    name: str
    stage: int
    tied: bool = False
    precision: str = "fp32"
    scope: str = "input_embedding"

    def model(self) -> LlamaForCausalLM:
        return model(
            tied=self.tied,
            dtype=torch.bfloat16 if self.precision == "bf16" else torch.float32,
        )

    def method(self) -> Method:
        if self.name not in PEFT_RECIPES:
            return build_method(self.name, HYPERPARAMETERS.get(self.name, {}))
        recipe = read_yaml(find_file("baseline", self.name))
        return build_method("peft", {name: recipe[name] for name in ("peft_type", "peft_config")})

    def attach(self) -> tuple[object, torch.nn.Module]:
        method, base = self.method(), self.model()
        given: AnyTicket | None = None
        if method.needs_ticket:
            given = mask(base) if self.name == "lota" else ticket(self.scope)
        return method, method.attach(base, ticket=given, seed=0)


def train(case: Case, memory: Memory, worker: Worker):
    _, attached = case.attach()
    losses: list[float] = []
    spec = TrainSpec(
        learning_rate=1e-2, steps=6, global_batch_size=8, micro_batch_size=2, weight_decay=0.1,
        precision=case.precision, checkpoint_every_steps=3,
    )  # fmt: skip
    run = Run(
        attached, examples(), spec=spec, zero_stage=case.stage, seed=0, pad_id=0, worker=worker
    )
    outcome = run.train(memory, lambda metrics: losses.append(metrics.loss))
    return outcome, losses


def outside_entries_kept(case: Case, state: dict[str, torch.Tensor]) -> bool:
    """Whether a merged LoTA differs from the base in the mask's entries only, and in most of them."""
    method, fresh = case.attach()
    load_state(fresh, state)
    before, after = case.model().state_dict(), method.merge(fresh).state_dict()
    allowed = {f"{name}.weight": one for name, one in mask(case.model()).places.items()}
    moved = {
        name: (after[name] != one).flatten().nonzero().flatten() for name, one in before.items()
    }
    return all(
        bool(torch.isin(places, allowed[name]).all()) and len(places) > len(allowed[name]) / 2
        if name in allowed
        else not len(places)
        for name, places in moved.items()
    )


def outside_rows_kept(case: Case, state: dict[str, torch.Tensor]) -> bool:
    """Whether a merged partial tuning differs from the base in the ticket's rows only, and in some."""
    method, fresh = case.attach()
    load_state(fresh, state)
    merged = method.merge(fresh)
    before, after = case.model().state_dict(), merged.state_dict()
    allowed = {
        f"{part.name}.weight": set(part.rows_K.tolist())
        for part in find_scope(merged, case.scope).parts(IDS)
    }
    moved = {}
    for name in before:
        rows = (after[name] != before[name]).reshape(len(before[name]), -1).any(dim=1)
        if rows.any():
            moved[name] = set(rows.nonzero().flatten().tolist())
    return bool(moved) and all(moved[name] <= allowed.get(name, set()) for name in moved)


OUTSIDE = {"partial_tuning": outside_rows_kept, "lota": outside_entries_kept}


def cases() -> list[Case]:
    found = [
        Case(name, stage)
        for name in METHODS
        if METHODS[name].trains
        for stage in ((0, 1, 2) if name == "lota" else (0, 1, 2, 3))
    ]
    found += [Case("lota", stage, precision="bf16") for stage in (1, 2)]
    found += [Case(name, stage) for name in PEFT_RECIPES for stage in (0, 2, 3)]
    found += [Case(name, stage, tied=True) for name in ("peft", *PEFT_RECIPES) for stage in (0, 2)]
    found += [
        Case("partial_tuning", stage, tied, precision)
        for stage in (0, 1, 2, 3)
        for tied, precision in ((True, "fp32"), (False, "bf16"), (True, "bf16"))
    ]
    found += [
        Case("partial_tuning", stage, tied, "fp32", scope)
        for stage in (0, 1, 2, 3)
        for tied, scope in ((False, "output_head"), (True, "output_head"), (False, LINEAR))
    ]
    return found


def main() -> None:
    join_process_group()
    worker = Worker(dist.get_rank(), dist.get_world_size())
    for case in cases():
        memory = Memory()
        outcome, losses = train(case, memory, worker)
        again, resumed = train(case, Memory({3: memory.kept[3]}), worker)
        assert outcome.state is not None
        assert again.state is not None
        _, fresh = case.attach()
        untrained = fresh(PROBE).logits
        load_state(fresh, outcome.state)
        parameters = trainable_parameters(fresh)
        report = {
            "case": [case.name, case.stage, case.tied, case.precision, case.scope],
            "losses": losses,
            "resumed": resumed,
            "same_state": all(torch.equal(outcome.state[k], again.state[k]) for k in again.state),
            "names_match": parameters.keys() == outcome.state.keys(),
            "logits": fresh(PROBE).logits.float().flatten()[:50].tolist(),
            "moved": not torch.equal(fresh(PROBE).logits, untrained),
            "outside_kept": OUTSIDE[case.name](case, outcome.state)
            if case.name in OUTSIDE
            else None,
        }
        if worker.leads:
            print("CASE " + json.dumps(report), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    sys.exit(0)
