"""What concerns more than one field of a suite."""

from __future__ import annotations

from ksl_bench.config import Baseline, Suite
from ksl_bench.errors import ConfigError, KslBenchError
from ksl_bench.evaluation.metrics import check_metrics
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.methods import METHODS
from ksl_bench.registry import unknown
from ksl_bench.tasks import build_task


def check_suite(suite: Suite, *, complete: bool) -> list[str]:
    """Return one line a problem; baselines are checked only if all of them are there."""
    problems = []
    try:
        task = build_task(suite.task)
        _ = task.template
    except KslBenchError as error:
        field = "name" if error.problems[0].startswith("unknown task") else "prompt"
        problems += [f"task.{field}: {problem}" for problem in error.problems]
    try:
        check_metrics(suite.evaluate.metrics)
    except ConfigError as error:
        problems += [f"evaluate.metrics: {problem}" for problem in error.problems]
    if complete:
        for baseline in suite.baselines:
            problems += [
                f"baselines.{baseline.name}.{one}" for one in _check_baseline(suite, baseline)
            ]
    return problems


def _check_baseline(suite: Suite, baseline: Baseline) -> list[str]:
    problems = []
    method, train, resources = METHODS[baseline.method], baseline.train, suite.resources
    if train.gradient_checkpointing and method.no_gradient_checkpointing:
        problems.append(
            f"train.gradient_checkpointing: not with method {baseline.method!r}: "
            f"{method.no_gradient_checkpointing}"
        )
    if method.trains:
        try:
            train.accumulation_steps(world_size=resources.workers_per_run)
        except ValueError as error:
            problems.append(f"train.global_batch_size: {error}")
        if train.precision == "bf16" and resources.zero_stage == 0:
            problems.append(
                "train.precision: bf16 needs resources.zero_stage >= 1: DeepSpeed's stage 0 keeps no fp32 "
                "master weights, so small steps are rounded away"
            )
    return problems + _check_ticket(suite, baseline)


def _check_ticket(suite: Suite, baseline: Baseline) -> list[str]:
    spec, problems = baseline.ticket, []
    if spec is None:
        return []
    if spec.criterion not in CRITERIA:
        return [f"ticket.criterion: {unknown('criterion', spec.criterion, CRITERIA)}"]
    criterion = CRITERIA[spec.criterion]
    if criterion.needs_tuned and spec.source is None:
        problems.append(
            f"ticket.from: criterion {spec.criterion!r} needs a tuned baseline to look at"
        )
    if spec.alpha is not None and not criterion.takes_alpha:
        problems.append(f"ticket.alpha: criterion {spec.criterion!r} has no p-values; give k")
    if spec.source is not None:
        names = [one.name for one in suite.baselines]
        if spec.source not in names:
            problems.append(f"ticket.from: {unknown('baseline of this suite', spec.source, names)}")
        elif suite.baseline(spec.source).method not in ("embedding", "full"):
            problems.append(
                f"ticket.from: {spec.source!r} does not tune the input embedding; methods "
                "'embedding' and 'full' do"
            )
    elif baseline.method == "partial_transfer":
        problems.append(
            "ticket.from: partial transfer needs the tuned baseline whose rows it pastes"
        )
    return problems
