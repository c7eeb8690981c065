"""What concerns more than one field of a suite."""

from __future__ import annotations

from ksl_bench.auth import PASSWORD_IN_URI, masked
from ksl_bench.config import Baseline, Suite, TaskSpec, TicketSpec
from ksl_bench.errors import DataError, KslBenchError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.entries import ENTRY_CRITERIA, REST
from ksl_bench.methods import METHODS, build_method
from ksl_bench.methods.scope import INPUT_EMBEDDING, LAYERS, TOKEN_SCOPES
from ksl_bench.registry import unknown
from ksl_bench.suite.detectors import check_detector
from ksl_bench.suite.steps import check_steps
from ksl_bench.tasks import build_task
from ksl_bench.tasks.readings import LANGUAGE_METRICS, READINGS, TEXT_METRICS, ask_language


def check_suite(suite: Suite, *, complete: bool) -> list[str]:
    """Return one line a problem; baselines are checked only if all of them are there."""
    problems: list[str] = []
    rules: dict[str, None] = {}
    for name, spec in suite.tasks.items():
        where = suite.path_of(name)
        try:
            task = build_task(spec)
            rules.update(dict.fromkeys(task.rules))
            _ = task.template
        except KslBenchError as error:
            problems += [f"{where}.prompt: {problem}" for problem in error.problems]
        problems += [f"{where}.directions: {one}" for one in _check_identifier(suite, spec)]
        if spec.name != suite.task.name:
            problems.append(
                f"{where}.name: all conditions are of one task, {suite.task.name!r}, got {spec.name!r}"
            )
    known = READINGS[suite.task.name].metrics
    problems += [
        f"evaluate.metrics: {unknown(f'metric of {suite.task.name}', name, known)}"
        for name in suite.evaluate.metrics
        if name not in known
    ]
    if suite.evaluate.metrics and suite.evaluate.metrics[0] in LANGUAGE_METRICS:
        problems.append(
            f"evaluate.metrics: the first one ranks, and must be one of {', '.join(TEXT_METRICS)}, "
            f"got {suite.evaluate.metrics[0]!r}"
        )
    if rules and suite.verdicts.rule not in rules:
        problems.append(f"verdicts.rule: {unknown('extraction rule', suite.verdicts.rule, rules)}")
    if READINGS[suite.task.name].calibrates and suite.evaluate.split == "dev":
        problems.append(
            "evaluate.split: dev is where thresholds are chosen, and never scored; must be devtest"
        )
    if PASSWORD_IN_URI.search(suite.tracking.uri or ""):
        problems.append(
            f"tracking.uri: {masked(suite.tracking.uri or '')}: the stored plan and the report would show "
            "this user or password; leave it out, and give the URI in $MLFLOW_TRACKING_URI"
        )
    if complete:
        problems += _check_transfer(suite)
        problems += check_steps(suite)
        for baseline in suite.baselines:
            for step in range(max(1, len(baseline.by_step))):
                problems += [
                    f"baselines.{baseline.name}.{one}"
                    for one in _check_baseline(suite, baseline.at_step(step))
                ]
    return problems


def _check_identifier(suite: Suite, spec: TaskSpec) -> list[str]:
    """Check that the languages of hypotheses can be told, where a metric asks for them."""
    if not ask_language(suite.evaluate.metrics):
        return []
    try:
        build_task(spec).identifier(suite.evaluate.split)
    except DataError as error:
        without = (
            f"give evaluate.metrics without {' and '.join(LANGUAGE_METRICS)}, or other languages"
        )
        return [f"{problem}; {without}" for problem in error.problems]
    return []


def _check_transfer(suite: Suite) -> list[str]:
    names = [one.name for one in suite.baselines]
    problems = [
        f"transfer: {unknown('baseline of this suite', one, names)}"
        for one in suite.transfer
        if one not in names
    ]
    if suite.transfer and len(suite.conditions) < 2:
        problems.append("transfer: needs two conditions or more, give them under `conditions`")
    return problems


def _check_baseline(suite: Suite, baseline: Baseline) -> list[str]:
    problems = []
    method, train, resources = METHODS[baseline.method], baseline.train, suite.resources
    obstacle = build_method(baseline.method, baseline.hyperparameters).no_gradient_checkpointing
    if train.gradient_checkpointing and obstacle is not None:
        problems.append(
            f"train.gradient_checkpointing: not with method {baseline.method!r}: {obstacle}"
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
    return (
        problems
        + _check_probe(suite, baseline)
        + _check_ticket(suite, baseline)
        + check_detector(suite, baseline)
    )


def _check_probe(suite: Suite, baseline: Baseline) -> list[str]:
    probe, ticket = baseline.probe, baseline.ticket
    if probe is None:
        return []
    if baseline.method != "partial_tuning" or ticket is None:
        return [f"probe.of: {probe.of!r} is {baseline.method}; only partial_tuning can be probed"]
    if probe.active_in != "everywhere" and build_task(suite.task).labels:
        return ["probe.active_in: works where text is generated, not where labels are scored"]
    if probe.active_in != "everywhere" and ticket.scope != "input_embedding":
        return [f"probe.active_in: works on the input embedding, {probe.of!r} tunes {ticket.scope}"]
    return []


def _check_ticket(suite: Suite, baseline: Baseline) -> list[str]:
    spec, problems = baseline.ticket, []
    if spec is None:
        return []
    if baseline.method == "lota" or spec.sparsity is not None or spec.criterion in ENTRY_CRITERIA:
        return _check_mask(suite, baseline, spec)
    if spec.criterion not in CRITERIA:
        return [f"ticket.criterion: {unknown('criterion', spec.criterion, CRITERIA)}"]
    criterion = CRITERIA[spec.criterion]
    if spec.k is None and spec.alpha is None and not criterion.own_size:
        problems.append(f"ticket.k: criterion {spec.criterion!r} needs k")
    if criterion.tokens_only and spec.scope not in TOKEN_SCOPES:
        problems.append(
            f"ticket.scope: criterion {spec.criterion!r} picks tokens: must be "
            f"{' or '.join(TOKEN_SCOPES)}, got {spec.scope!r}"
        )
    if "tuned" in criterion.needs and spec.source is None:
        problems.append(
            f"ticket.from: criterion {spec.criterion!r} needs a tuned baseline to look at"
        )
    if spec.alpha is not None and not criterion.takes_alpha:
        problems.append(f"ticket.alpha: criterion {spec.criterion!r} has no p-values; give k")
    if spec.source is not None:
        names = [one.name for one in suite.baselines]
        if spec.source not in names:
            problems.append(f"ticket.from: {unknown('baseline of this suite', spec.source, names)}")
        elif not _tunes(suite.baseline(spec.source), spec.scope):
            problems.append(
                f"ticket.from: {spec.source!r} does not tune the whole {spec.scope}; methods "
                "'embedding' (with that scope) and 'full' do"
            )
    elif baseline.method == "partial_transfer":
        problems.append(
            "ticket.from: partial transfer needs the tuned baseline whose rows it pastes"
        )
    return problems


def _check_mask(suite: Suite, baseline: Baseline, spec: TicketSpec) -> list[str]:
    """Check a ticket of entries; what it needs is the same for all its fields, so all are told at once."""
    problems = []
    if baseline.method != "lota":
        problems.append(f"method: {baseline.method!r} tunes rows; entries are tuned by 'lota'")
    if spec.criterion not in ENTRY_CRITERIA:
        wrong = unknown("criterion of entries", spec.criterion, ENTRY_CRITERIA)
        return [*problems, f"ticket.criterion: {wrong}"]
    if spec.sparsity is None and spec.criterion != REST:
        problems.append(f"ticket.sparsity: criterion {spec.criterion!r} needs it, in place of k")
    if spec.sparsity is not None and spec.criterion == REST:
        problems.append(f"ticket.sparsity: criterion {REST!r} keeps all that is left; leave it out")
    if spec.scope != LAYERS:
        problems.append(f"ticket.scope: entries are picked in {LAYERS!r}, got {spec.scope!r}")
    if suite.resources.zero_stage == 3:
        problems.append("method: 'lota' reads whole weights, so resources.zero_stage must be <= 2")
    names = [one.name for one in suite.baselines]
    if spec.criterion == REST and spec.source is not None:
        other = suite.baseline(spec.source) if spec.source in names else None
        if other is None:
            wrong = unknown("baseline of this suite", spec.source, names)
            problems.append(f"ticket.from: {wrong}")
        elif other.method != "lota" or (other.ticket and other.ticket.criterion == REST):
            problems.append(f"ticket.from: {spec.source!r} must be of method 'lota', and no rest")
    if "tuned" not in ENTRY_CRITERIA[spec.criterion].needs:
        return problems
    if spec.source is None:
        problems.append(
            f"ticket.from: criterion {spec.criterion!r} needs a baseline of method 'full'"
        )
    elif spec.source not in names:
        problems.append(f"ticket.from: {unknown('baseline of this suite', spec.source, names)}")
    elif suite.baseline(spec.source).method != "full":
        problems.append(f"ticket.from: {spec.source!r} must be of method 'full'")
    return problems


def _tunes(source: Baseline, scope: str) -> bool:
    if source.method == "embedding":
        return bool(source.hyperparameters.get("scope", INPUT_EMBEDDING) == scope)
    return source.method == "full"
