"""Stability of the tickets of a suite: across seeds, prompts, samples of data and languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import mean
from typing import Any

from safetensors.torch import load
from transformers import PreTrainedTokenizerBase

from ksl_bench.config import ModelSpec, Suite, TaskSpec
from ksl_bench.data.batching import token_counts
from ksl_bench.errors import StorageError, TicketError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.stability import Regression, overlap, rank_correlation, regress_rank
from ksl_bench.methods.scope import INPUT_EMBEDDING, Scope, find_scope
from ksl_bench.models import ModelReference, find_model, load_model, load_tokenizer
from ksl_bench.registry import unknown
from ksl_bench.store import Store
from ksl_bench.tasks import build_task
from ksl_bench.tasks.encoding import encode_examples, instruction_tokens, sentence_places

SEED = "seed"
"""What differs between two runs of one condition; their overlap is the ceiling of all others."""


@dataclass(frozen=True, slots=True)
class Order:
    """The KS order of one embedding tuning."""

    condition: str
    seed: int
    rows: list[int]
    """Row ids that moved, best first."""
    regression: Regression | None


def measure_stability(store: Store, suite: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Compare the KS orders of all embedding tunings of a suite that was run.

    Two conditions are compared over pairs of different seeds, as the seeds of one condition are: a pair
    of one seed shares the order of its examples, and would look more alike than it is.

    Args:
        store: Where the suite was run.
        suite: Its name.
        sizes: k at which overlaps are counted; those beyond an order's rows are left out.

    Returns:
        What `ksl-bench ticket stability --json` prints.

    Raises:
        StorageError: If the suite was never run over this store.
        TicketError: If fewer than two embedding tunings are finished.
    """
    plan = store.plans.read(suite)
    if plan is None:
        raise StorageError(f"nothing is stored of {unknown('suite', suite, store.plans.names())}")
    settings = Suite.model_validate(plan["suite"])
    base = _Base.of(plan)
    runs, missing = _tuned(store, settings, plan)
    orders = [_order(store, base, settings.tasks[one.condition], one) for one in runs]
    if len(orders) < 2:
        raise TicketError(
            f"suite {suite!r} has {len(orders)} finished embedding tunings, stability needs two or more"
        )
    kept = [k for k in sizes if k <= min(len(one.rows) for one in orders)]
    groups: dict[str, list[tuple[Order, Order]]] = {}
    for pair in combinations(orders, 2):
        groups.setdefault(_difference(settings.tasks, *pair), []).append(pair)
    ceiling_first = sorted(groups, key=lambda what: (what != SEED, what))
    return {
        "suite": suite,
        "criterion": "ks",
        "sizes": kept,
        "moved": {f"{one.condition} seed {one.seed}": len(one.rows) for one in orders},
        "missing": missing,
        "comparisons": [
            _compared(what, _comparable(groups[what]), kept, base.scope.size)
            for what in ceiling_first
        ],
        "regressions": [
            {"condition": one.condition, "seed": one.seed}
            | ({} if one.regression is None else asdict(one.regression))
            for one in orders
        ],
    }


@dataclass(frozen=True, slots=True)
class _Run:
    """One finished embedding tuning."""

    condition: str
    seed: int
    state: str
    max_seq_length: int


@dataclass(frozen=True, slots=True)
class _Base:
    """The base model as its fp32 masters start."""

    reference: ModelReference
    scope: Scope
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> _Base:
        name, revision = plan["model"]["name"], plan["model"]["revision"]
        reference = find_model(ModelSpec(name_or_path=name, revision=revision))
        precision = next(one["train"]["precision"] for one in plan["suite"]["baselines"])
        model = load_model(reference, precision=precision)
        return cls(reference, find_scope(model, INPUT_EMBEDDING), load_tokenizer(reference))


def _tuned(store: Store, suite: Suite, plan: Mapping[str, Any]) -> tuple[list[_Run], list[str]]:
    """Return the embedding tunings of a suite that are finished, and the names of those that are not.

    Of several embedding tunings (other learning rates) the first of the suite counts.
    """
    tuned = next((one for one in suite.baselines if one.method == "embedding"), None)
    if tuned is None:
        raise TicketError(f"suite {suite.name!r} has no baseline of method 'embedding'")
    runs, missing = [], []
    for row in plan["rows"]:
        if row["baseline"] != tuned.name or row["condition"] != row["scored_under"]:
            continue
        if store.is_finished("state", row["state"]):
            length = tuned.train.max_seq_length
            runs.append(_Run(row["condition"], row["seed"], row["state"], length))
        else:
            missing.append(f"{row['condition']} seed {row['seed']}")
    return runs, missing


def _order(store: Store, base: _Base, spec: TaskSpec, run: _Run) -> Order:
    state = load(store.read_bytes("state", run.state, "state.safetensors"))
    (name, _), *_ = base.scope.modules
    evidence = Evidence(before_VD=base.scope.matrix(), after_VD=state[f"{name}.weight"])
    rows: list[int] = CRITERIA["ks"].rank(evidence).tolist()
    task = build_task(spec)
    items = task.read("train").items
    encoded = encode_examples(task, items, base.tokenizer, max_seq_length=run.max_seq_length)
    counts_V = token_counts(encoded, vocabulary=base.scope.size)
    places = sentence_places(task, items, base.tokenizer)
    template_V = instruction_tokens(places, vocabulary=base.scope.size)
    return Order(run.condition, run.seed, rows, regress_rank(rows, counts_V, template_V))


def _difference(tasks: Mapping[str, TaskSpec], first: Order, second: Order) -> str:
    """Name what sets two runs apart: the seed, or the fields in which their conditions differ."""
    if first.condition == second.condition:
        return SEED
    one, other = tasks[first.condition], tasks[second.condition]
    fields = [name for name in type(one).model_fields if getattr(one, name) != getattr(other, name)]
    return " and ".join(fields) or "nothing but its name"


def _comparable(pairs: list[tuple[Order, Order]]) -> list[tuple[Order, Order]]:
    """Keep the pairs of different seeds, if there are any."""
    return [pair for pair in pairs if pair[0].seed != pair[1].seed] or pairs


def _compared(
    what: str, pairs: Sequence[tuple[Order, Order]], sizes: Sequence[int], rows: int
) -> dict[str, Any]:
    shared = {k: [overlap(one.rows, other.rows, k) for one, other in pairs] for k in sizes}
    correlations = [
        found
        for one, other in pairs
        if (found := rank_correlation(one.rows, other.rows, rows=rows)) is not None
    ]
    return {
        "differs": what,
        "pairs": len(pairs),
        "overlap": {
            str(k): {"mean": mean(found), "lowest": min(found), "highest": max(found)}
            for k, found in shared.items()
        },
        "rank_correlation": mean(correlations) if correlations else None,
    }
