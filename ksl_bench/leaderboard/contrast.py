"""Two rows of one leaderboard: the difference over seeds and sentences, and what the sentences alone say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from ksl_bench.config import VerdictSpec
from ksl_bench.errors import ConfigError, StorageError
from ksl_bench.evaluation.scoring import SENTENCES_FILE, read_arrays
from ksl_bench.evaluation.statistics import corpus_scores
from ksl_bench.leaderboard.board import Scored, plan_of, read_conditions
from ksl_bench.leaderboard.gains import headline, told_difference
from ksl_bench.registry import unknown
from ksl_bench.significance.intervals import difference
from ksl_bench.significance.trained import approximate_randomization, paired_bootstrap
from ksl_bench.significance.verdicts import non_inferiority
from ksl_bench.store import Store

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
    found = difference(systems[0][rule, metric], systems[1][rule, metric])
    pairs = _common(here.rows[one], here.rows[two])
    return {
        "suite": suite,
        "condition": here.condition,
        "first": first,
        "second": second,
        "rule": rule,
        "metric": metric,
        "difference": told_difference(found),
        "margin": spec.margin,
        "verdict": str(non_inferiority(found.interval, spec.margin)),
        "sentence_tests": [
            {"seed": seed, **asdict(result)}
            for seed, *keys in pairs
            for result in _tests(store, keys, f"{rule}/{metric}", metric)
        ],
    }


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
    score = partial(corpus_scores, metric)
    for test in TESTS:
        documents = both[0]["groups"].tolist()
        yield test(both[0][name], both[1][name], score, documents=documents)
