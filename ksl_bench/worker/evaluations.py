"""Make an evaluation: generate, score, and put all that it cost on the bill."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from safetensors.torch import load
from torch import nn

from ksl_bench.data.batching import padding_id
from ksl_bench.evaluation.answers import Answers, read_answers
from ksl_bench.evaluation.generate import generate
from ksl_bench.evaluation.likelihood import answer_scores
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import draw_sentences, score_answers
from ksl_bench.methods.base import load_state, parameter_counts
from ksl_bench.plan import Work
from ksl_bench.tasks import build_task
from ksl_bench.tasks.base import Examples, Output, Task
from ksl_bench.tasks.encoding import encode_choices
from ksl_bench.tasks.readings import ask_language
from ksl_bench.worker.bills import Generated, bill_of, record_of
from ksl_bench.worker.merging import merged_model, trained_by
from ksl_bench.worker.outcome import Outcome, Report, Throttle
from ksl_bench.worker.probes import BeforeBatch, apply_probe
from ksl_bench.worker.warm import Warm


@dataclass(frozen=True, slots=True)
class Read:
    """What was read from a split, ready to be scored."""

    examples: Examples
    answers: Answers
    generated: Generated
    lines: bytes
    """What was asked, wanted and answered, a JSON line an example."""
    parameters: dict[str, int]
    """What was tuned for it, and all."""


def build_evaluation(warm: Warm, work: Work, report: Report) -> Outcome:
    """Generate, score and write the result; a collective call."""
    started = time.perf_counter()
    model, parameters = adapted(warm, work)
    before_batch = apply_probe(warm, work, model)
    evaluate, task = warm.setting.evaluate, build_task(work.task)
    examples = warm.examples(work.task, evaluate.split)
    generated = _generate(
        warm, model.requires_grad_(False), _prompts(task, examples), report, before_batch
    )
    if task.labels:
        generated = _with_label_scores(warm, work, task, model, generated)
    if not warm.worker.leads:
        return Outcome(work.key, "finished")
    answers = read_answers(task, examples.items, generated.outputs)
    lines = _lines(examples, generated.outputs, answers.hypotheses)
    read = Read(examples, answers, generated, lines, parameters)
    return write_evaluation(warm, work, task, read, started)


def write_evaluation(
    warm: Warm, work: Work, task: Task, read: Read, started: float, **more: Any
) -> Outcome:
    """Score what was read and write the result; on the leading rank.

    Args:
        warm: What all work of the suite shares.
        work: The evaluation.
        task: That it is of.
        read: What is scored.
        started: When the work began, by `time.perf_counter`.
        more: Further fields of the result.
    """
    evaluate, examples = warm.setting.evaluate, read.examples
    drawn = draw_sentences([one.document for one in examples.items], evaluate.bootstrap_samples)
    labels = [label for label, _ in task.labels]
    identify = task.identifier(evaluate.split) if ask_language(evaluate.metrics) else None
    measures = {metric: build_measure(metric, labels, identify) for metric in evaluate.metrics}
    scored = score_answers(read.answers, measures, drawn=drawn, macro_axis=task.macro_axis)
    state = record_of(warm, "state", work.state_key)
    ticket = record_of(warm, "ticket", work.ticket_key).get("ticket", {})
    result = {
        "baseline": work.baseline.name,
        "method": work.baseline.method,
        "seed": work.seed,
        "inputs": work.inputs,
        "split": evaluate.split,
        "prompt": work.task.prompt,
        "ticket_rows": ticket.get("k"),
        "condition": work.condition,
        "sentences": len(examples.items),
        "truncated_training_examples": state.get("truncated_examples", 0),
        "tied_embeddings": warm.is_tied(work.baseline.train.precision),
        "parameters": read.parameters,
        "scores": scored.scores,
        "by_group": scored.by_group,
        "draw": asdict(drawn.draw),
        "diagnostics": task.diagnostics(read.generated.outputs, read.answers.references),
        "cost": bill_of(warm, work, read.generated, time.perf_counter() - started),
        "data": {"digest": examples.digest, "origin": examples.origin},
        **more,
        **warm.provenance(),
    }
    warm.store.finish("evaluation", work.key, result, {"outputs.jsonl": read.lines, **scored.files})
    return Outcome(work.key, "finished")


def adapted(warm: Warm, work: Work) -> tuple[nn.Module, dict[str, int]]:
    """Return the model that is scored, and its parameters: what was tuned for it, and all."""
    if work.merged:
        merged = merged_model(warm, work)
        records = [record_of(warm, "state", step.state_key) for step in work.merged]
        return merged, {**parameter_counts(merged), "trainable": trained_by(records)}
    model = warm.attach(work.baseline, warm.ticket_of(work), work.seed, work.parents)
    if work.state_key is not None:
        load_state(model, load(warm.store.read_bytes("state", work.state_key, "state.safetensors")))
    return model, parameter_counts(model)


def _prompts(task: Task, examples: Examples) -> list[str]:
    return [task.template.render(one.fields) for one in examples.items]


def _generate(
    warm: Warm, model: nn.Module, prompts: list[str], report: Report, before_batch: BeforeBatch
) -> Generated:
    started = time.perf_counter()
    throttled = Throttle(report)
    outputs = generate(
        model.to(warm.worker.device),
        warm.tokenizer,
        prompts,
        decoding=warm.setting.evaluate.decoding,
        worker=warm.worker,
        before_batch=before_batch,
        on_batch=lambda done: throttled({"step": done, "total": len(prompts)}),
    )
    return Generated(outputs, time.perf_counter() - started, warm.peaks())


def _with_label_scores(
    warm: Warm, work: Work, task: Task, model: nn.Module, generated: Generated
) -> Generated:
    """Add how likely the model finds each label."""
    started = time.perf_counter()
    examples = warm.examples(work.task, warm.setting.evaluate.split)
    found = answer_scores(
        model,
        encode_choices(task, examples.items, warm.tokenizer),
        pad_id=padding_id(warm.tokenizer),
        batch_size=warm.setting.evaluate.decoding.batch_size,
        worker=warm.worker,
    )
    outputs = [
        replace(output, label_scores=scores)
        for output, scores in zip(generated.outputs, found, strict=True)
    ]
    seconds = generated.seconds + time.perf_counter() - started
    return Generated(outputs, seconds, warm.peaks())


def _lines(
    examples: Examples, outputs: Sequence[Output], hypotheses: Mapping[str, Sequence[str]]
) -> bytes:
    """Return a JSON line an example: what was asked, wanted, generated, and read by each rule."""
    lines = [
        {
            **one.fields,
            **one.groups,
            "reference": one.wanted,
            "output": out.text,
            "ended": out.ended,
        }
        | {name: hypotheses[name][index] for name in hypotheses}
        | ({} if out.label_scores is None else {"label_scores": out.label_scores})
        for index, (one, out) in enumerate(zip(examples.items, outputs, strict=True))
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
