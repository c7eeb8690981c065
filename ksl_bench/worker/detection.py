"""Make an evaluation of a detector: score texts, choose thresholds on dev, label the split that is scored."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from ksl_bench.config import Precision, Split
from ksl_bench.data.batching import padding_id
from ksl_bench.detection.statistics import machine_scores
from ksl_bench.detection.thresholds import Floats, Thresholds, calibrate
from ksl_bench.detection.votes import majority, vote_share
from ksl_bench.errors import DataError
from ksl_bench.evaluation.answers import read_answers
from ksl_bench.evaluation.likelihood import answer_scores
from ksl_bench.evaluation.text_statistics import text_statistics
from ksl_bench.methods.base import parameter_counts
from ksl_bench.models import ModelReference, load_model
from ksl_bench.plan import Step, Work
from ksl_bench.tasks.base import Examples
from ksl_bench.tasks.detection import MACHINE, RULES, Detected, Detection, detected
from ksl_bench.tasks.encoding import encode_choices
from ksl_bench.worker.bills import Generated, record_of
from ksl_bench.worker.evaluations import Read, adapted, write_evaluation
from ksl_bench.worker.outcome import Outcome, Report, Throttle
from ksl_bench.worker.probes import apply_probe
from ksl_bench.worker.warm import Warm

CALIBRATION: Split = "dev"
"""The one split that thresholds are chosen on; a suite that would score it is refused."""


def build_detection(warm: Warm, work: Work, task: Detection, report: Report) -> Outcome:
    """Score, label and write the result; a collective call."""
    if work.voters:
        return _build_vote(warm, work, task)
    started = time.perf_counter()
    detector = _Detector(warm, work, task, report)
    on_dev = detector.scores(CALIBRATION)
    found = detector.scores(warm.setting.evaluate.split)
    seconds, peaks = time.perf_counter() - started, warm.peaks()
    if not warm.worker.leads:
        return Outcome(work.key, "finished")
    dev = warm.examples(work.task, CALIBRATION)
    thresholds = choose_thresholds(dev, on_dev, fewest_per_class=task.spec.fewest_per_class)
    examples = warm.examples(work.task, warm.setting.evaluate.split)
    languages = [one.groups["language"] for one in examples.items]
    machine = {
        "global": thresholds.globally(found),
        "calibrated": thresholds.calibrated(found, languages),
    }
    outputs = [
        detected(
            dict.fromkeys(RULES, float(score)), {rule: bool(machine[rule][at]) for rule in RULES}
        )
        for at, score in enumerate(found)
    ]
    read = _read(task, examples, outputs, Generated(outputs, seconds, peaks), detector.parameters)
    told = {"calibration": {**_told(thresholds), "digest": dev.digest, "texts": len(dev.items)}}
    return write_evaluation(warm, work, task, read, started, **told)


def choose_thresholds(dev: Examples, scores: Floats, *, fewest_per_class: int) -> Thresholds:
    """Choose the thresholds of a detector from its scores of the calibration split, (N,)."""
    return calibrate(
        scores,
        [one.wanted == MACHINE for one in dev.items],
        [one.groups["language"] for one in dev.items],
        fewest_per_class=fewest_per_class,
    )


class _Detector:
    """What gives each text of a split its score."""

    def __init__(self, warm: Warm, work: Work, task: Detection, report: Report) -> None:
        self._warm, self._work, self._task, self._report = warm, work, task, report
        model, self.parameters = adapted(warm, work)
        apply_probe(warm, work, model)
        self._model = model.requires_grad_(False).to(warm.worker.device)
        self._second = None
        if work.performer is not None:
            second = load_performer(warm, work.performer, work.baseline.train.precision)
            more = parameter_counts(second)["total"]
            self.parameters = {**self.parameters, "total": self.parameters["total"] + more}
            self._second = second.requires_grad_(False).to(warm.worker.device)

    def scores(self, split: Split) -> Floats:
        """Return the scores of a split, high for machine, float64, (N,); a collective call."""
        warm, examples = self._warm, self._warm.examples(self._work.task, split)
        decoding = warm.setting.evaluate.decoding
        if self._work.baseline.statistic is None:
            found = answer_scores(
                self._model,
                encode_choices(self._task, examples.items, warm.tokenizer),
                pad_id=padding_id(warm.tokenizer),
                batch_size=decoding.batch_size,
                worker=warm.worker,
            )
            human_machine_N2 = np.array(found)
            odds: Floats = human_machine_N2[:, 1] - human_machine_N2[:, 0]
            return odds
        throttled, total = Throttle(self._report), len(examples.items)
        name = self._work.baseline.statistic.name
        try:
            values = text_statistics(
                self._model,
                warm.tokenizer,
                [one.fields["text"] for one in examples.items],
                performer=self._second,
                max_tokens=self._work.baseline.train.max_seq_length,
                batch_size=decoding.batch_size,
                worker=warm.worker,
                on_batch=lambda done: throttled({"step": done, "total": total}),
            )
        except DataError as error:
            raise DataError(f"{split}: {error}") from None
        return machine_scores(values)[name]


def load_performer(warm: Warm, performer: Step | ModelReference, precision: Precision) -> nn.Module:
    """Return the second model of a statistic that compares two."""
    if isinstance(performer, ModelReference):
        other: nn.Module = load_model(performer, precision=precision)
        return other
    tuned: nn.Module = warm.with_states(warm.model(precision), [performer])
    return tuned


def _build_vote(warm: Warm, work: Work, task: Detection) -> Outcome:
    """Count the votes that the voters' evaluations hold."""
    started, peaks = time.perf_counter(), warm.peaks()
    if not warm.worker.leads:
        return Outcome(work.key, "finished")
    examples = warm.examples(work.task, warm.setting.evaluate.split)
    shares, called = {}, {}
    labels = [_outputs_of(warm, key) for key in work.voters]
    for rule in RULES:
        votes_DN = [[line[rule] == MACHINE for line in lines] for lines in labels]
        shares[rule], called[rule] = vote_share(votes_DN), majority(votes_DN)
    outputs = [
        detected(
            {rule: float(shares[rule][at]) for rule in RULES},
            {rule: bool(called[rule][at]) for rule in RULES},
        )
        for at in range(len(examples.items))
    ]
    below = [one.evaluation_key for one in work.ballots]
    sizes = [record_of(warm, "evaluation", key)["parameters"]["total"] for key in below]
    parameters = {"trainable": 0, "total": max(sizes)}
    read = _read(task, examples, outputs, Generated(outputs, 0.0, peaks), parameters)
    return write_evaluation(warm, work, task, read, started, ballots=below)


def _outputs_of(warm: Warm, key: str) -> list[dict[str, Any]]:
    """Return what a voter's evaluation holds of every text; a broken one is set aside, to be made again."""
    content = warm.store.read_bytes("evaluation", key, "outputs.jsonl").decode()
    return [json.loads(line) for line in content.removesuffix("\n").split("\n")]


def _read(
    task: Detection,
    examples: Examples,
    outputs: Sequence[Detected],
    generated: Generated,
    parameters: dict[str, int],
) -> Read:
    scores = {rule: [one.scores[rule] for one in outputs if one.scores] for rule in RULES}
    answers = read_answers(task, examples.items, outputs, scores=scores)
    lines = [
        {
            **one.fields,
            "language": one.groups["language"],
            "reference": one.wanted,
            **{rule: answers.hypotheses[rule][at] for rule in RULES},
            "scores": out.scores,
        }
        for at, (one, out) in enumerate(zip(examples.items, outputs, strict=True))
    ]
    told = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    return Read(examples, answers, generated, told, parameters)


def _told(thresholds: Thresholds) -> dict[str, Any]:
    """Return thresholds as JSON has them; None where nothing is called machine."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "threshold": finite(thresholds.all_texts),
        "by_language": {name: finite(one) for name, one in thresholds.by_language.items()},
    }
