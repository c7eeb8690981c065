"""Started by torchrun from test_zero.py: every method under every ZeRO stage, on these ranks.

Each run trains 6 steps with a checkpoint after 3, is resumed from that checkpoint, and what it saved is
loaded into a fresh attachment. Rank 0 prints one JSON line a run.
"""

from __future__ import annotations

import json
import sys
import warnings

warnings.filterwarnings("ignore")

import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from ksl_bench.config import TrainSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.lottery.ticket import Ticket, TicketRow
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.base import load_state, trainable_parameters
from ksl_bench.training.engine import join_process_group
from ksl_bench.training.loop import Checkpoint, Run, Worker

IDS = [7, 3, 199, 40]
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


def ticket() -> Ticket:
    rows = tuple(TicketRow(token_id=one, token="", D=None, p=None, l2=None) for one in IDS)
    return Ticket(
        base_model="tiny", revision=None, base_digest="0" * 64, tokenizer_digest=None,
        tensor="input_embedding", criterion="ks", alpha=None, k=len(IDS), source_state=None,
        values="none", rows=rows, row_values=None,
    )  # fmt: skip


def examples() -> list[Encoded]:
    draw = torch.Generator().manual_seed(0)

    def ids(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (), generator=draw))
        return torch.randint(3, 200, (length,), generator=draw).tolist()

    return [Encoded((1, *ids(5, 10)), (*ids(2, 6), 2)) for _ in range(64)]


def attach(name: str, *, tied: bool, precision: str) -> tuple[object, torch.nn.Module]:
    method = build_method(name, {})
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    base = model(tied=tied, dtype=dtype)
    return method, method.attach(base, ticket=ticket() if method.needs_ticket else None, seed=0)


def train(name: str, stage: int, tied: bool, precision: str, memory: Memory, worker: Worker):
    _, attached = attach(name, tied=tied, precision=precision)
    losses: list[float] = []
    spec = TrainSpec(
        learning_rate=1e-2, steps=6, global_batch_size=8, micro_batch_size=2, weight_decay=0.1,
        precision=precision, checkpoint_every_steps=3,
    )  # fmt: skip
    run = Run(attached, examples(), spec=spec, zero_stage=stage, seed=0, pad_id=0, worker=worker)
    outcome = run.train(memory, lambda metrics: losses.append(metrics.loss))
    return outcome, losses


def outside_rows_kept(
    name: str, state: dict[str, torch.Tensor], tied: bool, precision: str
) -> bool:
    """Whether a merged partial tuning differs from the base in the ticket's rows only, and in some."""
    method, fresh = attach(name, tied=tied, precision=precision)
    before = (
        model(tied=tied, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
        .get_input_embeddings()
        .weight
    )
    load_state(fresh, state)
    after = method.merge(fresh).get_input_embeddings().weight
    same = (after == before).all(dim=1)
    moved = {row for row in range(200) if not same[row]}
    return bool(moved) and moved <= set(IDS)


def main() -> None:
    join_process_group()
    worker = Worker(dist.get_rank(), dist.get_world_size())
    cases = [
        (name, stage, False, "fp32")
        for name in METHODS
        if METHODS[name].trains
        for stage in (0, 1, 2, 3)
    ]
    cases += [
        ("partial_tuning", stage, tied, precision)
        for stage in (0, 1, 2, 3)
        for tied, precision in ((True, "fp32"), (False, "bf16"), (True, "bf16"))
    ]
    for name, stage, tied, precision in cases:
        memory = Memory()
        outcome, losses = train(name, stage, tied, precision, memory, worker)
        again, resumed = train(name, stage, tied, precision, Memory({3: memory.kept[3]}), worker)
        assert outcome.state is not None
        assert again.state is not None
        _, fresh = attach(name, tied=tied, precision=precision)
        untrained = fresh(PROBE).logits
        load_state(fresh, outcome.state)
        parameters = trainable_parameters(fresh)
        report = {
            "case": [name, stage, tied, precision],
            "losses": losses,
            "resumed": resumed,
            "same_state": all(torch.equal(outcome.state[k], again.state[k]) for k in again.state),
            "names_match": parameters.keys() == outcome.state.keys(),
            "logits": fresh(PROBE).logits.float().flatten()[:50].tolist(),
            "moved": not torch.equal(fresh(PROBE).logits, untrained),
            "outside_rows_kept": name != "partial_tuning"
            or outside_rows_kept(name, outcome.state, tied, precision),
        }
        if worker.leads:
            print("CASE " + json.dumps(report), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    sys.exit(0)
