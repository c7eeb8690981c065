"""What `plan` and `list` tell, from configurations alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksl_bench.config import Baseline
from ksl_bench.data.prompts import TEMPLATES
from ksl_bench.errors import KslBenchError
from ksl_bench.estimate import MEAN_TOKENS, estimate
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.entries import ENTRY_CRITERIA
from ksl_bench.methods import METHODS
from ksl_bench.models import find_model, skeleton
from ksl_bench.plan import Plan, make_plan
from ksl_bench.preflight import adapter_problems
from ksl_bench.registry import Registry
from ksl_bench.store import Store
from ksl_bench.suite import available, load_suite, read_yaml


def describe_plan(name: str, assignments: Sequence[str], store: Store) -> dict[str, Any]:
    """Describe what a suite would do, from configurations alone.

    Args:
        name: Of the suite, or its path.
        assignments: `--set`.
        store: Where the sweeps are whose winners the suite takes.

    Returns:
        What `ksl-bench plan --json` prints.
    """
    suite = load_suite(name, assignments, stored=store.plans.read)
    reference = find_model(suite.model, weights=False)
    data_problem: str | None = None
    plan: Plan | None = None
    try:
        plan = make_plan(suite, reference)
    except KslBenchError as error:  # the text may not be at hand yet; shapes still tell a lot
        data_problem = error.problems[0]
    examples = (
        max(data["train"]["examples"] for data in plan.data.values())
        if plan
        else suite.task.train_size
    )
    refused = adapter_problems(suite.baselines, lambda: skeleton(reference))
    if refused:
        raise KslBenchError(refused)
    rows = []
    for baseline in suite.baselines:
        one = estimate(
            baseline.at_step(0),
            make_skeleton=lambda: skeleton(reference),
            resources=suite.resources,
            training_examples=examples,
        )
        rows.append(
            {
                **one.as_dict(),
                "method": baseline.method,
                "needs": _needed_by(baseline),
                "seeds": len(suite.seeds),
                "states": _states_of(plan, baseline.name) if plan else None,
            }
        )
    note = (
        f"{len(plan.works)} artifacts for {len(plan.rows)} rows (shared ones once). Estimates from shapes, "
        f"not promises; examples of {MEAN_TOKENS} tokens"
        if plan
        else f"artifacts not planned: {data_problem}"
    )
    return {
        "suite": suite.name,
        "model": suite.model.name_or_path,
        "baselines": rows,
        "artifacts": [
            {
                "kind": work.kind,
                "key": work.key,
                "baseline": work.baseline.name,
                "condition": work.condition,
                "seed": work.seed,
                "needs": [key for _, key in work.needs],
            }
            for work in (plan.works.values() if plan else ())
        ],
        "data": dict(plan.data) if plan else None,
        "note": note,
    }


def _needed_by(baseline: Baseline) -> str | None:
    """Return what a baseline needs of another one."""
    if baseline.merge is not None:
        return f"states of {baseline.merge.of}"
    ticket = baseline.ticket
    return f"state of {ticket.source}" if ticket and ticket.source else None


def _states_of(plan: Plan, baseline: str) -> int:
    """Count what is trained for a baseline: every condition, seed and step, and what it needs of others."""
    rows = [row for row in plan.rows if row.baseline == baseline]
    return len({key for row in rows for kind, key in row.chain() if kind == "state"})


def _described(kind: str) -> Callable[[], dict[str, str]]:
    return lambda: {
        name: str(read_yaml(path).get("description", "")) for name, path in available(kind).items()
    }


def _first_lines(parts: Mapping[str, Any]) -> dict[str, str]:
    return {name: (part.__doc__ or "").strip().splitlines()[0] for name, part in parts.items()}


LISTINGS: Registry[Callable[[], dict[str, str]]] = Registry(
    "listing",
    {
        "suites": _described("suite"),
        "baselines": _described("baseline"),
        "spaces": _described("search space"),
        "methods": lambda: _first_lines(METHODS),
        "criteria": lambda: {
            **{name: one.description for name, one in CRITERIA.items()},
            **{name: one.description for name, one in ENTRY_CRITERIA.items()},
        },
        "prompts": lambda: {name: one.text for name, one in TEMPLATES.items()},
    },
)
