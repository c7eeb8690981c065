"""What a sequence of tasks and a merge of states ask of a suite, and of the recipes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ksl_bench.config import Baseline, StepSpec, Suite
from ksl_bench.methods import METHODS, build_method
from ksl_bench.registry import unknown
from ksl_bench.suite.layers import keep_one_length, merge_layers


def step_entries(
    entry: Mapping[str, Any], forced: Mapping[str, Any], problems: list[str], where: str
) -> list[dict[str, Any]]:
    """Lay what a recipe says of each step over the rest of it.

    Args:
        entry: The joined recipe, its `train` complete.
        forced: What `--set train...` gives: it holds at every step.
        problems: Takes what is wrong.
        where: The recipe's path.
    """
    listed = entry.get("by_step")
    if not isinstance(listed, list) or not listed:
        problems.append(f"{where}.by_step: must be a list of mappings, one a step, got {listed!r}")
        return []
    below = {name: value for name, value in entry.items() if name != "by_step"}
    found = []
    for place, own in enumerate(listed):
        allowed = isinstance(own, dict) and not own.keys() & {"name", "method", "by_step", "probe"}
        if not allowed:
            problems.append(
                f"{where}.by_step.{place}: must map the method's fields, ticket or train, got {own!r}"
            )
            continue
        joined = merge_layers(below, own)
        joined["train"] = {**joined["train"], **forced}
        keep_one_length(joined["train"], below["train"], own.get("train"), forced)
        found.append(joined)
    return found


def as_step(baseline: Baseline) -> StepSpec:
    """Return what tells one step's baseline from another's."""
    return StepSpec(
        hyperparameters=baseline.hyperparameters, ticket=baseline.ticket, train=baseline.train
    )


def check_steps(suite: Suite) -> Iterator[str]:
    """Yield a line for each problem with the sequence, and with what is merged."""
    for place, name in enumerate(suite.sequence):
        if name not in suite.conditions:
            yield (
                f"sequence.{place}: {unknown('condition of this suite', name, suite.conditions)}"
            )
    if len(suite.sequence) == 1:
        yield f"sequence: needs two conditions or more, got {list(suite.sequence)}"
    for baseline in suite.baselines:
        if baseline.merge is not None:
            for problem in _check_merge(suite, baseline):
                yield f"baselines.{baseline.name}.merge.{problem}"
        elif suite.sequence and METHODS[baseline.method].trains and baseline.probe is None:
            obstacle = _obstacle(baseline)
            if obstacle is not None:
                yield (
                    f"baselines.{baseline.name}.method: {baseline.method!r} cannot stand in a sequence: "
                    f"{obstacle}"
                )
        if (suite.sequence or baseline.merge) and baseline.by_step:
            yield from _check_length(suite, baseline)


def _check_merge(suite: Suite, baseline: Baseline) -> Iterator[str]:
    """Check a merge, which has the method and ticket of the baseline that it merges."""
    merge, ticket = baseline.merge, baseline.ticket
    assert merge is not None
    if len(suite.joined) < 2:
        yield "of: needs two conditions or more, give them under `conditions`"
    if not METHODS[baseline.method].trains:
        yield f"of: {merge.of!r} trains nothing that could be merged"
    obstacle = _obstacle(baseline)
    if obstacle is not None:
        yield f"of: {merge.of!r} cannot be merged: {obstacle}"
    if merge.rule == "disjoint_sum" and (ticket is None or ticket.in_sequence != "disjoint"):
        yield f"rule: disjoint_sum needs a baseline with ticket.in_sequence disjoint, got {merge.of!r}"


def _obstacle(baseline: Baseline) -> str | None:
    return build_method(baseline.method, baseline.hyperparameters).no_merge


def _check_length(suite: Suite, baseline: Baseline) -> Iterator[str]:
    given, wanted = len(baseline.by_step), len(suite.joined)
    if given != wanted:
        what = "the sequence" if suite.sequence else "the conditions"
        yield (
            f"baselines.{baseline.name}.by_step: must have as many steps as {what}, {wanted}, got {given}"
        )
