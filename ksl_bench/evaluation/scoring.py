"""Score what was generated, and keep what any later comparison needs of it.

Shapes: N sentences, S statistics of a sentence, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ksl_bench.evaluation.metrics import score_corpus
from ksl_bench.evaluation.statistics import corpus_scores, sentence_statistics
from ksl_bench.significance.intervals import mean_interval
from ksl_bench.significance.resampling import Floats, Resampling, System, resample

SENTENCES_FILE = "statistics.safetensors"
"""`<rule>/<metric>`: statistics of every sentence, int32, (N, S); `groups`: its document or itself, (N,)."""
RESAMPLES_FILE = "resamples.safetensors"
"""`<rule>/<metric>`: the score of every resample, float64, (B,)."""

VERSION = 1
"""Raised when what is kept changes: then no earlier evaluation counts as finished."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one model on one split, and the files behind them."""

    scores: dict[str, dict[str, dict[str, Any]]]
    """By rule and metric: value, ends of the 95 % interval, signature."""
    files: dict[str, bytes]
    """By name: SENTENCES_FILE and RESAMPLES_FILE."""


def draw_sentences(documents: Sequence[str | None], resamples: int) -> Resampling:
    """Draw sentences; whole documents where the corpus names the document of each, and more than one.

    Args:
        documents: Of every sentence, (N,), N > 1.
        resamples: B.
    """
    known = [one for one in documents if one is not None]
    clustered = len(known) == len(documents) and len(set(known)) > 1
    return resample(len(documents), resamples, documents=known if clustered else None)


def score_rules(
    hypotheses: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    language: str,
    metrics: Sequence[str],
    drawn: Resampling,
) -> Scored:
    """Score what each extraction rule read.

    Args:
        hypotheses: By rule, one line an example, (N,).
        references: As many.
        language: ISO 639-3 code of both.
        metrics: Names in `metrics.METRICS`.
        drawn: Of N sentences.

    Returns:
        Scores whose intervals speak of the sentences, for this trained model only.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    sentences: dict[str, NDArray[np.int32]] = {}
    resampled: dict[str, Floats] = {}
    alike: dict[tuple[str, ...], str] = {}  # rules often agree
    for rule, lines in hypotheses.items():
        first = alike.setdefault(tuple(lines), rule)
        if first != rule:
            scores[rule] = scores[first]
        for metric in metrics:
            name = f"{rule}/{metric}"
            if first != rule:
                sentences[name] = sentences[f"{first}/{metric}"]
                resampled[name] = resampled[f"{first}/{metric}"]
                continue
            counts_NS = sentence_statistics(metric, lines, references, language)
            resampled[name] = corpus_scores(metric, drawn.counts_BN @ counts_NS)
            sentences[name] = counts_NS
            score = score_corpus(metric, lines, references, language=language)
            interval = mean_interval(one_seed_system(score.value, resampled[name], drawn))
            ends = {"low": interval.low, "high": interval.high}
            scores.setdefault(rule, {})[metric] = {**asdict(score), **ends}
    kept = {**sentences, "groups": drawn.groups_N.astype(np.int32)}
    return Scored(scores, {SENTENCES_FILE: save(kept), RESAMPLES_FILE: save(resampled)})


def one_seed_system(value: float, resampled_B: Floats, drawn: Resampling) -> System:
    """Return a trained model as a system of its own."""
    return System((0,), np.array([value]), resampled_B[:, None], drawn.draw)


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of SENTENCES_FILE or RESAMPLES_FILE by `<rule>/<metric>`."""
    arrays: dict[str, NDArray[Any]] = load(content)
    return arrays
