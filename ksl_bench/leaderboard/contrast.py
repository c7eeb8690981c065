"""Two rows of one leaderboard: the difference over seeds and sentences, and what the sentences alone say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.errors import ConfigError, StorageError
from ksl_bench.evaluation.measures import score_of_sums
from ksl_bench.evaluation.scoring import SENTENCES_FILE, read_arrays
from ksl_bench.leaderboard.board import Scored, plan_of, read_conditions
from ksl_bench.leaderboard.comparable import apart, missing_of
from ksl_bench.leaderboard.gains import headline, told_difference
from ksl_bench.registry import unknown
from ksl_bench.significance.intervals import Difference, difference
from ksl_bench.significance.trained import approximate_randomization, paired_bootstrap
from ksl_bench.significance.verdicts import Verdict as Margin
from ksl_bench.significance.verdicts import non_inferiority
from ksl_bench.store import Store
from ksl_bench.tasks.readings import LANGUAGE_METRICS

TESTS = (paired_bootstrap, approximate_randomization)


def contrast(
    store: Store,
    suite: str,
    first: str,
    second: str,
    *,
    condition: str | None = None,
    rule: str | None = None,
    metric: str | None = None,
) -> dict[str, Any]:
    """Compare two baselines of a suite, as one comparison that was planned.

    Args:
        store: Where the results are.
        suite: Its name.
        first: A baseline.
        second: Another one.
        condition: Under which both were tuned and scored; may be left out where there is one.
        rule: Extraction rule; that of the suite's verdicts where none is given.
        metric: The suite's headline metric where none is given.

    Returns:
        `difference` (first less second, over seeds and sentences), `verdict` within the suite's margin, and
        `sentence_tests`: for each seed that both have, tests that speak of these trained models only.
        As on the leaderboard, rows that were not tuned and scored alike are `not_comparable` and have no
        difference, and those of which a seed is missing `inconclusive`; `reason` says why.
        `no_sentence_tests` says why there are no such tests.

    Raises:
        ConfigError: If a name is none of the suite's.
        StorageError: If one of them has no result.
    """
    plan = plan_of(store, suite)
    spec = VerdictSpec(**plan["suite"].get("verdicts", {}))
    here = _condition(list(read_conditions(store, plan)), condition)
    one, two = _place(here, first), _place(here, second)
    systems = here.systems[one], here.systems[two]
    if systems[0] is None or systems[1] is None:
        missing = first if systems[0] is None else second
        raise StorageError(f"{missing}: has no result under {here.condition}")
    rule, metric = rule or spec.rule, metric or headline(here.rows[one])
    if (rule, metric) not in systems[0]:
        known = [f"{metric} under {rule}" for rule, metric in systems[0]]
        raise ConfigError(f"--rule, --metric: {unknown('score', f'{metric} under {rule}', known)}")
    rows = here.rows[one], here.rows[two]
    differing, lost = _differing(here, one, two), missing_of(*rows)
    pair = systems[0][rule, metric], systems[1][rule, metric]
    found = None if differing else difference(*pair)
    untested = _untested(rows[0]["task"], metric)
    if differing:
        untested = "they are not comparable"
    return {
        "suite": suite,
        "condition": here.condition,
        "first": first,
        "second": second,
        "rule": rule,
        "metric": metric,
        "difference": None if found is None else told_difference(found),
        "margin": spec.margin,
        "verdict": _verdict(found, metric, spec.margin, lost),
        "reason": differing or lost,
        "sentence_tests": [
            {"seed": seed, **asdict(result)}
            for seed, *keys in (() if untested else _common(*rows))
            for result in _tests(store, keys, f"{rule}/{metric}", metric)
        ],
        "no_sentence_tests": untested,
    }


def _differing(here: Scored, one: int, two: int) -> str | None:
    """Return why two scored rows cannot be judged against each other; None where they can."""
    first, second = here.terms[one], here.terms[two]
    assert first is not None
    assert second is not None
    return apart(first, second)


def _verdict(found: Difference | None, metric: str, margin: float, missing: str | None) -> str:
    """Judge the first row as the leaderboard would: never by the seeds that are left."""
    if found is None:
        return "not_comparable"
    if missing:
        return str(Margin.INCONCLUSIVE)
    gap = found.interval
    if metric in LANGUAGE_METRICS:  # fewer are better
        gap = replace(gap, low=-gap.high, high=-gap.low)
    return str(non_inferiority(gap, margin))


def _untested(task: str, metric: str) -> str | None:
    """Return why a score cannot be tested sentence by sentence; None where it can."""
    if task == "directions":
        return "the score is a mean over directions, not one of summed sentences"
    if score_of_sums(metric) is None:
        return f"{metric} is not a score of summed sentences"
    return None


def _condition(known: Sequence[Scored], wanted: str | None) -> Scored:
    names = [one.condition for one in known]
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None:
        raise ConfigError(f"--condition: name one of {', '.join(names)}")
    if wanted not in names:
        raise ConfigError(f"--condition: {unknown('condition', wanted, names)}")
    return known[names.index(wanted)]


def _place(here: Scored, baseline: str) -> int:
    names = [
        row["baseline"] if row["condition"] == row["scored_under"] else None for row in here.rows
    ]
    if baseline not in names:
        known = [name for name in names if name is not None]
        raise ConfigError(unknown("baseline of this suite", baseline, known))
    return names.index(baseline)


def _common(one: dict[str, Any], two: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Yield each seed that both have, with the keys of both evaluations."""
    keys = [dict(zip(row["finished_seeds"], row["evaluations"], strict=True)) for row in (one, two)]
    for seed in keys[0]:
        if seed in keys[1]:
            yield seed, keys[0][seed], keys[1][seed]


def _tests(store: Store, keys: Sequence[str], name: str, metric: str) -> Iterator[Any]:
    both = [read_arrays(store.read_bytes("evaluation", key, SENTENCES_FILE)) for key in keys]
    score = score_of_sums(metric)
    assert score is not None
    documents = both[0]["groups"].tolist()
    for test in TESTS:
        yield test(both[0][name], both[1][name], score, documents=documents)
