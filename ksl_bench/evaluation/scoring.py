"""Score what was generated, and keep what any later comparison needs of it.

A draw may tell nothing: without a text of one class, or without any of a small group. It is then drawn again:
the next draw that tells something stands for it. So every score of a resample is a number, and the interval
is that over draws which tell something.

Shapes: N sentences, S statistics of a sentence, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import Measure
from ksl_bench.significance.intervals import mean_interval
from ksl_bench.significance.resampling import Draw, Floats, Resampling, System, resample
from ksl_bench.tasks.base import ALL_GROUPS

SENTENCES_FILE = "statistics.safetensors"
"""`<rule>/<metric>`: what is kept of every sentence, (N, S); `groups`: its document or itself, (N,)."""
GROUPS_FILE = "groups.safetensors"
"""`<axis>/<group>/<rule>/<metric>`: the score of every resample in that group, float64, (B,)."""
RESAMPLES_FILE = "resamples.safetensors"
"""`<rule>/<metric>`: the score of every resample, float64, (B,)."""

VERSION = 1
"""Raised when what is kept changes: then no earlier evaluation counts as finished."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one model on one split, and the files behind them."""

    scores: dict[str, dict[str, dict[str, Any]]]
    """By rule and metric: value, ends of the 95 % interval, signature."""
    by_group: dict[str, dict[str, Any]]
    """By axis, group, rule and metric: value, ends of the interval, examples; `units`: the sentences or
    documents among them that were drawn."""
    files: dict[str, bytes]
    """By name: SENTENCES_FILE and RESAMPLES_FILE; where there are groups GROUPS_FILE."""


def draw_sentences(documents: Sequence[str | None], resamples: int) -> Resampling:
    """Draw sentences; whole documents where the corpus names the document of each, and more than one.

    Args:
        documents: Of every sentence, (N,), N > 1.
        resamples: B.
    """
    known = [one for one in documents if one is not None]
    clustered = len(known) == len(documents) and len(set(known)) > 1
    return resample(len(documents), resamples, documents=known if clustered else None)


def score_answers(
    answers: Answers,
    measures: Mapping[str, Measure],
    *,
    drawn: Resampling,
    macro_axis: str | None = None,
) -> Scored:
    """Score what each rule read, over all examples and over every group.

    Args:
        answers: N of them.
        measures: By the metric's name; the first is the headline.
        drawn: Of N examples.
        macro_axis: The axis over whose groups a score is the plain mean; None: all examples count alike.

    Returns:
        Scores whose intervals speak of the sentences, for this trained model only.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    sentences: dict[str, NDArray[Any]] = {}
    resampled: dict[str, Floats] = {}
    grouped = _Groups(answers, drawn)
    alike: dict[Any, str] = {}  # rules often agree
    for rule, lines in answers.hypotheses.items():
        first = alike.setdefault((tuple(lines), tuple(answers.scores.get(rule, ()))), rule)
        for metric, measure in measures.items():
            name, source = f"{rule}/{metric}", f"{first}/{metric}"
            if first != rule:
                scores.setdefault(rule, {})[metric] = scores[first][metric]
                sentences[name], resampled[name] = sentences[source], resampled[source]
                grouped.copy(first, rule, metric)
                continue
            kept_NS = measure.statistics(answers, rule)
            grouped.score(measure, kept_NS, rule, metric)
            if macro_axis is None:
                value = measure.value(answers, rule)
                resampled[name] = _told(measure.scores(drawn.counts_BN, kept_NS))
                signature = measure.signature(answers, rule)
            else:
                value, resampled[name] = grouped.mean(macro_axis, rule, metric)
                count = len(dict.fromkeys(answers.groups[macro_axis]))
                signature = f"mean of {count} {macro_axis}s: {measure.signature(answers, rule)}"
            sentences[name] = kept_NS
            scores.setdefault(rule, {})[metric] = {
                "value": value,
                "signature": signature,
                **_ends(value, resampled[name], drawn.draw),
            }
    kept = {**sentences, "groups": drawn.groups_N.astype(np.int32)}
    files = {SENTENCES_FILE: save(kept), RESAMPLES_FILE: save(resampled)}
    if grouped.resampled:
        files[GROUPS_FILE] = save(grouped.resampled)
    return Scored(scores, grouped.scores, files)


class _Groups:
    """The scores of every group of every axis, each on its own examples of the same draws."""

    def __init__(self, answers: Answers, drawn: Resampling) -> None:
        self._answers, self._drawn = answers, drawn
        self._places = {
            (axis, group): [at for at, one in enumerate(groups) if one in (group, ALL_GROUPS)]
            for axis, groups in answers.groups.items()
            for group in dict.fromkeys(groups)
            if group != ALL_GROUPS
        }
        self.scores: dict[str, dict[str, Any]] = {}
        self.resampled: dict[str, Floats] = {}

    def score(self, measure: Measure, kept_NS: NDArray[Any], rule: str, metric: str) -> None:
        """Score one rule and metric in every group."""
        for (axis, group), places in self._places.items():
            value = measure.value(self._answers.at(places), rule)
            if np.isnan(value):  # the metric tells nothing of this group
                continue
            resampled_B = _told(measure.scores(self._drawn.counts_BN[:, places], kept_NS[places]))
            units = len(np.unique(self._drawn.groups_N[places]))
            ends = _ends(value, resampled_B, draw_of_group(self._drawn.draw, units))
            entry = {"value": value, **ends, "examples": len(places), "units": units}
            self._keep(axis, group, rule, metric, entry, resampled_B)

    def copy(self, source: str, rule: str, metric: str) -> None:
        """Take another rule's scores, which read the same."""
        for axis, group in self._places:
            entry = self.scores.get(axis, {}).get(group, {}).get(source, {}).get(metric)
            if entry is None:  # the metric tells nothing of this group
                continue
            self._keep(
                axis,
                group,
                rule,
                metric,
                entry,
                self.resampled[f"{axis}/{group}/{source}/{metric}"],
            )

    def _keep(
        self, axis: str, group: str, rule: str, metric: str, entry: Any, resampled_B: Floats
    ) -> None:
        at = self.scores.setdefault(axis, {}).setdefault(group, {}).setdefault(rule, {})
        at[metric] = entry
        self.resampled[f"{axis}/{group}/{rule}/{metric}"] = resampled_B

    def mean(self, axis: str, rule: str, metric: str) -> tuple[float, Floats]:
        """Return the mean over the groups of an axis, as it is and on every draw."""
        groups = self.scores[axis]
        value = float(np.mean([one[rule][metric]["value"] for one in groups.values()]))
        parts = [self.resampled[f"{axis}/{group}/{rule}/{metric}"] for group in groups]
        return value, np.mean(parts, axis=0)


def _told(scores_B: Floats) -> Floats:
    """Return the score of every draw; of one that is NaN that of the next that is not, in a circle.

    Which draws those are depends on the examples alone, so systems stay paired.

    Args:
        scores_B: At least one of them is a number, (B,).
    """
    known = np.flatnonzero(~np.isnan(scores_B))
    next_B = np.searchsorted(known, np.arange(len(scores_B))) % len(known)
    found: Floats = scores_B[known[next_B]]
    return found


def _ends(value: float, resampled_B: Floats, draw: Draw) -> dict[str, float]:
    interval = mean_interval(one_seed_system(value, resampled_B, draw))
    return {"low": interval.low, "high": interval.high}


def draw_of_group(draw: Draw, units: int) -> Draw:
    """Return the draw of all examples as that of a group: the same resamples, as sure as its own examples.

    Args:
        draw: Of all examples.
        units: Sentences or documents of the group. One alone does not vary, whatever is drawn.
    """
    return replace(draw, groups=max(units, 2))


def one_seed_system(value: float, resampled_B: Floats, draw: Draw) -> System:
    """Return a trained model as a system of its own."""
    return System((0,), np.array([value]), resampled_B[:, None], draw)


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of SENTENCES_FILE or RESAMPLES_FILE by `<rule>/<metric>`."""
    arrays: dict[str, NDArray[Any]] = load(content)
    return arrays
