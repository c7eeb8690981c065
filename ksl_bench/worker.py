"""What one worker does with one piece of work: make a state, a ticket or an evaluation.

Every rank of a group calls `Builder.build` with the same work. The base model stays loaded between
calls; each run gets a copy, so that nothing of one run is left in the next. Rank 0 writes to the store,
the record last: an artifact without a record does not exist.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
import yaml
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench import measure
from ksl_bench.config import Baseline, Precision, Split
from ksl_bench.data.batching import Encoded, encode, padding_id, token_counts
from ksl_bench.errors import TicketError
from ksl_bench.evaluation.generate import generate
from ksl_bench.evaluation.metrics import score_corpus
from ksl_bench.lottery.criteria import CRITERIA, Evidence, select
from ksl_bench.lottery.ticket import Ticket, matrix_digest, rows_of
from ksl_bench.methods import build_method
from ksl_bench.methods.base import (
    input_embedding_name,
    is_tied,
    load_state,
    trainable_parameters,
)
from ksl_bench.models import load_model, load_tokenizer, tokenizer_digest
from ksl_bench.plan import Setting, Work
from ksl_bench.store import Store
from ksl_bench.tasks import build_task
from ksl_bench.tasks.base import Examples
from ksl_bench.training.checkpoints import StoredCheckpoints
from ksl_bench.training.loop import Run, StepMetrics, Worker

Status = Literal["finished", "failed", "out_of_memory", "diverged", "skipped"]
Report = Callable[[dict[str, Any]], None]
"""Told how far a piece of work is; for a display, never for the record."""

REPORT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a piece of work ended."""

    key: str
    status: Status
    reason: str | None = None


class Builder:
    """Makes artifacts on one worker, with the base model kept warm."""

    def __init__(self, setting: Setting, store: Store, worker: Worker) -> None:
        """Keep what all work of a suite shares; nothing is loaded yet."""
        self.setting, self.store, self.worker = setting, store, worker
        self.task = build_task(setting.task)
        self._models: dict[Precision, PreTrainedModel] = {}
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._examples: dict[Split, Examples] = {}
        self._encoded: dict[int, list[Encoded]] = {}

    def build(self, work: Work, report: Report = lambda progress: None) -> Outcome:
        """Make one artifact; a collective call.

        Raises:
            Exception: Whatever went wrong; `classify` gives its status.
        """
        measure.reset_peak_memory(self.worker.device)
        if work.kind == "state":
            return self._state(work, report)
        if work.kind == "ticket":
            return self._ticket(work)
        return self._evaluation(work, report)

    # What stays warm.

    def model(self, precision: Precision) -> PreTrainedModel:
        """Return a fresh copy of the base model, on the CPU."""
        if precision not in self._models:
            self._models[precision] = load_model(self.setting.model, precision=precision)
        return copy.deepcopy(self._models[precision])

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the base model's tokenizer."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.setting.model)
        return self._tokenizer

    def examples(self, split: Split) -> Examples:
        """Return one split."""
        if split not in self._examples:
            self._examples[split] = self.task.read(split)
        return self._examples[split]

    def encoded(self, max_seq_length: int) -> list[Encoded]:
        """Return the training examples as token ids."""
        if max_seq_length not in self._encoded:
            template = self.task.template
            self._encoded[max_seq_length] = [
                encode(
                    self.tokenizer,
                    template.render(one.fields),
                    template.response_prefix + one.response,
                    max_seq_length=max_seq_length,
                )
                for one in self.examples("train").items
            ]
        return self._encoded[max_seq_length]

    def _attach(self, baseline: Baseline, ticket: Ticket | None, seed: int) -> nn.Module:
        method = build_method(baseline.method, baseline.hyperparameters)
        return method.attach(self.model(baseline.train.precision), ticket=ticket, seed=seed)

    def _read_ticket(self, key: str | None, precision: Precision) -> Ticket | None:
        if key is None:
            return None
        ticket = Ticket.from_bytes(self.store.read_ticket(key))
        ticket.check_base(
            base_digest=matrix_digest(self._embedding(precision)),
            tokenizer_digest=tokenizer_digest(self.tokenizer),
        )
        return ticket

    def _embedding(self, precision: Precision) -> Tensor:
        """Return the base's input embedding as fp32 masters start from it, shape (V, D)."""
        if precision not in self._models:
            self._models[precision] = load_model(self.setting.model, precision=precision)
        weight: Tensor = self._models[precision].get_input_embeddings().weight
        return weight.detach().float()

    def _peaks(self) -> list[dict[str, int | None]]:
        """Return the peak memory of every rank; a collective call."""
        peaks: list[Any] = [measure.peak_memory(self.worker.device)]
        if self.worker.world_size > 1:
            mine, peaks = peaks[0], [None] * self.worker.world_size
            dist.all_gather_object(peaks, mine)
        return peaks

    # States.

    def _state(self, work: Work, report: Report) -> Outcome:
        train = work.baseline.train
        examples = self.encoded(train.max_seq_length)
        ticket = self._read_ticket(work.ticket_key, train.precision)
        model = self._attach(work.baseline, ticket, work.seed)
        counts = {
            "trainable": sum(one.numel() for one in trainable_parameters(model).values()),
            "total": sum(one.numel() for one in model.parameters()),
        }
        run = Run(
            model,
            examples,
            spec=train,
            zero_stage=self.setting.zero_stage,
            seed=work.seed,
            pad_id=padding_id(self.tokenizer),
            worker=self.worker,
        )
        checkpoints = StoredCheckpoints(self.store, work.key, self.worker)
        log = _StepLog(self.store, work.key, run.total_steps, checkpoints.step(), report)
        outcome = run.train(checkpoints, log if self.worker.leads else lambda metrics: None)
        peaks = self._peaks()
        if self.worker.leads:
            log.flush()
        if outcome.state is None or not self.worker.leads:
            return Outcome(work.key, outcome.status, outcome.reason)
        state = save(outcome.state, metadata={"format": "pt"})
        record = {
            "baseline": work.baseline.name,
            "seed": work.seed,
            "inputs": work.inputs,
            "parameters": counts,
            "steps": run.total_steps,
            "examples": len(examples),
            "truncated_examples": sum(one.truncated for one in examples),
            "losses": {"first": log.first_loss, "last": outcome.last_loss},
            "cost": {
                "train_seconds": log.seconds,
                "tokens": log.tokens,
                "tokens_per_second": log.tokens / log.seconds if log.seconds else None,
                "workers": self.worker.world_size,
                "peak_memory": peaks,
                "state_bytes": len(state),
            },
            **self._provenance(),
        }
        config = yaml.safe_dump(
            work.baseline.model_dump(mode="json", by_alias=True), sort_keys=False
        )
        self.store.finish(
            "state",
            work.key,
            record,
            {"state.safetensors": state, "config.yaml": config.encode()},
        )
        self.store.remove_checkpoints(work.key)
        return Outcome(work.key, "finished")

    # Tickets.

    def _ticket(self, work: Work) -> Outcome:
        """Select rows; the work of one rank, for which the others wait in their next call."""
        if not self.worker.leads:
            return Outcome(work.key, "finished")
        started = time.perf_counter()
        spec = work.baseline.ticket
        assert spec is not None
        before = self._embedding(work.baseline.train.precision)
        after = self._tuned_embedding(work)
        criterion = CRITERIA[spec.criterion]
        evidence = Evidence(
            before_VD=before,
            after_VD=after,
            counts_V=self._counts(work, len(before)) if criterion.needs_counts else None,
            seed=work.seed,
        )
        try:
            selection = select(criterion, evidence, k=spec.k, alpha=spec.alpha)
        except TicketError as error:
            return Outcome(work.key, "skipped", str(error))
        ticket = Ticket(
            base_model=self.setting.model.name,
            revision=self.setting.model.revision,
            base_digest=matrix_digest(before),
            tokenizer_digest=tokenizer_digest(self.tokenizer),
            tensor="input_embedding",
            criterion=spec.criterion,
            alpha=spec.alpha,
            k=len(selection.token_ids),
            source_state=work.state_key,
            values="none" if after is None else "transferred",
            rows=rows_of(selection, self.tokenizer.convert_ids_to_tokens),
            row_values=None if after is None else after[selection.token_ids].clone(),
        )
        record = {
            "baseline": work.baseline.name,
            "seed": work.seed,
            "inputs": work.inputs,
            "ticket": ticket.header(),
            "cost": {"selection_seconds": time.perf_counter() - started},
            **self._provenance(),
        }
        self.store.finish("ticket", work.key, record, {"ticket": ticket.to_bytes()})
        return Outcome(work.key, "finished")

    def _tuned_embedding(self, work: Work) -> Tensor | None:
        if work.state_key is None:
            return None
        assert work.state_baseline is not None
        tuned = self._attach(work.state_baseline, None, work.seed)
        name = input_embedding_name(tuned)
        state: dict[str, Tensor] = load(
            self.store.read_bytes("state", work.state_key, "state.safetensors")
        )
        return state[name]

    def _counts(self, work: Work, vocabulary: int) -> Tensor:
        return token_counts(self.encoded(work.baseline.train.max_seq_length), vocabulary=vocabulary)

    # Evaluations.

    def _evaluation(self, work: Work, report: Report) -> Outcome:
        ticket = self._read_ticket(work.ticket_key, work.baseline.train.precision)
        model = self._attach(work.baseline, ticket, work.seed)
        if work.state_key is not None:
            load_state(
                model, load(self.store.read_bytes("state", work.state_key, "state.safetensors"))
            )
        trainable = trainable_parameters(model)
        counts = {
            "trainable": sum(one.numel() for one in trainable.values()),
            "total": sum(one.numel() for one in model.parameters()),
        }
        model.requires_grad_(False).to(self.worker.device)
        evaluate = self.setting.evaluate
        examples = self.examples(evaluate.split)
        template = self.task.template
        started = time.perf_counter()
        throttled = _Throttle(report)
        outputs = generate(
            model,
            self.tokenizer,
            [template.render(one.fields) for one in examples.items],
            decoding=evaluate.decoding,
            worker=self.worker,
            on_batch=lambda done: throttled({"step": done, "total": len(examples.items)}),
        )
        generation_seconds = time.perf_counter() - started
        peaks = self._peaks()
        if not self.worker.leads:
            return Outcome(work.key, "finished")
        references = [one.response for one in examples.items]
        hypotheses = {
            name: [rule(one.text) for one in outputs] for name, rule in self.task.rules.items()
        }
        lines = [
            {**one.fields, "reference": one.response, "output": out.text, "ended": out.ended}
            | {name: hypotheses[name][index] for name in hypotheses}
            for index, (one, out) in enumerate(zip(examples.items, outputs, strict=True))
        ]
        result = {
            "baseline": work.baseline.name,
            "method": work.baseline.method,
            "seed": work.seed,
            "inputs": work.inputs,
            "split": evaluate.split,
            "prompt": self.setting.task.prompt,
            "sentences": len(references),
            "tied_embeddings": is_tied(self._models[work.baseline.train.precision]),
            "parameters": counts,
            "scores": self._scores(hypotheses, references),
            "diagnostics": self.task.diagnostics(outputs, references),
            "cost": self._bill(work, started, generation_seconds, outputs, peaks),
            "data": {"digest": examples.digest, "origin": examples.origin},
            **self._provenance(),
        }
        body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        self.store.finish("evaluation", work.key, result, {"outputs.jsonl": body.encode()})
        return Outcome(work.key, "finished")

    def _scores(
        self, hypotheses: Mapping[str, list[str]], references: list[str]
    ) -> dict[str, dict[str, Any]]:
        scores: dict[str, dict[str, Any]] = {}
        known: dict[tuple[str, ...], dict[str, Any]] = {}
        for rule, lines in hypotheses.items():
            if tuple(lines) not in known:  # rules often agree, and the bootstrap takes its time
                known[tuple(lines)] = {
                    metric: score_corpus(
                        metric,
                        lines,
                        references,
                        language=self.task.language,
                        bootstrap_samples=self.setting.evaluate.bootstrap_samples,
                    ).as_dict()
                    for metric in self.setting.evaluate.metrics
                }
            scores[rule] = known[tuple(lines)]
        return scores

    def _bill(
        self,
        work: Work,
        started: float,
        generation_seconds: float,
        outputs: list[Any],
        peaks: list[dict[str, int | None]],
    ) -> dict[str, Any]:
        """Return all that this row cost: selection (with the tuning it looks at), tuning, evaluation."""
        state = self._cost("state", work.state_key)
        ticket = self._cost("ticket", work.ticket_key)
        record = self.store.record("ticket", work.ticket_key) if work.ticket_key else None
        source = self._cost("state", record["ticket"]["source_state"] if record else None)
        workers = self.worker.world_size
        selection = ticket.get("selection_seconds", 0.0) + source.get("train_seconds", 0.0)
        training = state.get("train_seconds", 0.0)
        evaluation = time.perf_counter() - started
        hours = workers * (selection + training + evaluation) / 3600
        price = self.setting.device_price_per_hour
        return {
            "selection_seconds": selection,
            "train_seconds": training,
            "evaluate_seconds": evaluation,
            "generation_seconds": generation_seconds,
            "train_tokens_per_second": state.get("tokens_per_second"),
            "generated_tokens_per_second": sum(one.tokens for one in outputs) / generation_seconds,
            "train_peak_memory": state.get("peak_memory"),
            "evaluate_peak_memory": peaks,
            "state_bytes": state.get("state_bytes", 0),
            "devices": workers,
            "device_hours": hours,
            "money": None if price is None else hours * price,
        }

    def _cost(self, kind: str, key: str | None) -> dict[str, Any]:
        record = self.store.record(kind, key) if key else None
        return dict(record["cost"]) if record else {}

    def _provenance(self) -> dict[str, Any]:
        return {
            "model": asdict(self.setting.model),
            "provenance": {
                "versions": measure.package_versions(),
                "hardware": measure.hardware(self.worker.device),
                "git_commit": measure.git_commit(),
                "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        }


def classify(error: BaseException) -> tuple[Status, str]:
    """Return the status and the one-line reason of work that raised."""
    text = str(error).strip()
    reason = f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"
    out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in text
    )
    return ("out_of_memory" if out_of_memory else "failed"), reason


class _Throttle:
    """Passes on a report at most every so many seconds, and the first and the last."""

    def __init__(self, report: Report) -> None:
        self._report, self._last = report, 0.0

    def __call__(self, progress: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last >= REPORT_SECONDS or progress["step"] >= progress["total"]:
            self._last = now
            self._report(progress)


class _StepLog:
    """Writes metrics.jsonl, and goes on with it after a resume as if nothing had happened."""

    FLUSH_SECONDS = 2.0

    def __init__(
        self, store: Store, key: str, total_steps: int, resumed_at: int, report: Report
    ) -> None:
        self._store, self._key, self._total = store, key, total_steps
        self._report = _Throttle(report)
        kept = [json.loads(line) for line in store.read_lines("state", key, "metrics.jsonl")]
        self._lines = [line for line in kept if line["step"] <= resumed_at]
        self._written = 0
        self._flushed = time.monotonic()

    def __call__(self, metrics: StepMetrics) -> None:
        self._lines.append(asdict(metrics))
        self._report({"step": metrics.step, "total": self._total, "loss": metrics.loss})
        if time.monotonic() - self._flushed >= self.FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new; the first time, also what stood there before, up to the resume."""
        new = [json.dumps(line) for line in self._lines[self._written :]]
        if self._written == 0:
            self._store.write_lines("state", self._key, "metrics.jsonl", new)
        elif new:
            self._store.append_lines("state", self._key, "metrics.jsonl", new)
        self._written = len(self._lines)
        self._flushed = time.monotonic()

    @property
    def first_loss(self) -> float | None:
        """The loss of the first step, before any resume."""
        return self._lines[0]["loss"] if self._lines else None

    @property
    def seconds(self) -> float:
        """Wall time of all steps, those before a resume with them."""
        return float(sum(line["seconds"] for line in self._lines))

    @property
    def tokens(self) -> int:
        """Input tokens of all steps."""
        return int(sum(line["tokens"] for line in self._lines))
