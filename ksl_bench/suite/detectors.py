"""What must be right of statistical detectors and votes."""

from __future__ import annotations

from ksl_bench.config import Baseline, PerformerSpec, Suite
from ksl_bench.detection.statistics import STATISTICS
from ksl_bench.methods import METHODS, build_method
from ksl_bench.registry import unknown
from ksl_bench.tasks.readings import READINGS


def check_detector(suite: Suite, baseline: Baseline) -> list[str]:
    """Return one line a problem of a baseline that scores by a statistic or by a vote; none of others."""
    given = [name for name in ("statistic", "vote") if getattr(baseline, name) is not None]
    if not given:
        return []
    problems = []
    if len(given) > 1:
        problems.append("vote: a baseline has a statistic or a vote, not both")
    if not READINGS[suite.task.name].calibrates:
        problems.append(f"{given[0]}: only of task 'detection', this is {suite.task.name!r}")
    if baseline.method != "none":
        problems.append(
            f"method: a {given[0]} trains nothing, so it must be 'none', got {baseline.method!r}"
        )
    return problems + _check_statistic(suite, baseline) + _check_vote(suite, baseline)


def _check_statistic(suite: Suite, baseline: Baseline) -> list[str]:
    spec = baseline.statistic
    if spec is None:
        return []
    if spec.name not in STATISTICS:
        return [f"statistic.name: {unknown('statistic', spec.name, STATISTICS)}"]
    two = STATISTICS[spec.name].second_model
    if two != (spec.performer is not None):
        need = "needs a performer, its second model" if two else "looks at one model; leave it out"
        return [f"statistic.performer: {spec.name} {need}"]
    return _check_performer(suite, spec.performer) if spec.performer is not None else []


def _check_performer(suite: Suite, spec: PerformerSpec) -> list[str]:
    if spec.baseline is None:
        return []
    names = [one.name for one in suite.baselines if METHODS[one.method].trains]
    if spec.baseline not in names:
        wrong = unknown("baseline of this suite that trains", spec.baseline, names)
        return [f"statistic.performer.baseline: {wrong}"]
    other = suite.baseline(spec.baseline)
    obstacle = build_method(other.method, other.hyperparameters).no_merge
    if obstacle is not None:
        return [f"statistic.performer.baseline: {spec.baseline!r} is no plain model: {obstacle}"]
    return []


def _check_vote(suite: Suite, baseline: Baseline) -> list[str]:
    if baseline.vote is None:
        return []
    names = [one.name for one in suite.baselines]
    before = names[: names.index(baseline.name)]
    problems = [
        f"vote.of: {unknown('baseline listed before it', one, before)}"
        for one in baseline.vote.of
        if one not in before
    ]
    twice = sorted({one for one in baseline.vote.of if baseline.vote.of.count(one) > 1})
    if twice:
        problems.append(f"vote.of: one voice each, got more of {', '.join(twice)}")
    return problems
