"""What stays warm in a worker between pieces of work: base model, tokenizer, text."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import torch.distributed as dist
from safetensors.torch import load
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench import measure
from ksl_bench.config import Baseline, Precision, Split, TaskSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.lottery.mask import AnyTicket, Mask, read_selection
from ksl_bench.lottery.ticket import matrix_digest
from ksl_bench.methods import build_method
from ksl_bench.methods.base import is_tied, load_state
from ksl_bench.methods.packed import has_dropout
from ksl_bench.methods.scope import LAYERS, Scope, find_scope, linear_layers
from ksl_bench.models import load_model, load_tokenizer, tokenizer_digest
from ksl_bench.plan import Setting, Step, Work
from ksl_bench.store import Store
from ksl_bench.tasks import build_task
from ksl_bench.tasks.base import Examples
from ksl_bench.tasks.encoding import Places, encode_examples, sentence_places
from ksl_bench.training.loop import Worker

_Thing = TypeVar("_Thing")


class Warm:
    """Loads each thing once, and gives every run a copy of what it may change."""

    def __init__(self, setting: Setting, store: Store, worker: Worker) -> None:
        """Keep what all work of a suite shares; nothing is loaded yet."""
        self.setting, self.store, self.worker = setting, store, worker
        self._models: dict[Precision, PreTrainedModel] = {}
        self._after: tuple[tuple[Precision, str], PreTrainedModel] | None = None
        self._digests: dict[tuple[str, Precision, str | None], str] = {}
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._examples: dict[tuple[TaskSpec, Split], Examples] = {}
        self._encoded: dict[tuple[TaskSpec, int], list[Encoded]] = {}
        self._places: dict[tuple[TaskSpec, Split], Places] = {}

    def model(self, precision: Precision, parents: Sequence[Step] = ()) -> PreTrainedModel:
        """Return a fresh copy of the base model, on the CPU, as earlier steps of a sequence left it."""
        return copy.deepcopy(self._pristine(precision, parents))

    def _pristine(self, precision: Precision, parents: Sequence[Step] = ()) -> PreTrainedModel:
        if parents:
            return self._left_by(parents, precision)
        if precision not in self._models:
            self._models[precision] = load_model(self.setting.model, precision=precision)
        return self._models[precision]

    def _left_by(self, steps: Sequence[Step], precision: Precision) -> PreTrainedModel:
        """Return the model that steps left; the last one that was asked for is kept."""
        key = precision, steps[-1].state_key
        if self._after is None or self._after[0] != key:
            self._after = None  # before the next one is made: there is room for one
            self._after = key, self.with_states(self.model(precision), steps)
        return self._after[1]

    def with_states(self, model: PreTrainedModel, steps: Sequence[Step]) -> PreTrainedModel:
        """Fold trained states into a model, one after the other.

        Args:
            model: What the first of them was tuned from; consumed.
            steps: The states.
        """
        for step in steps:
            baseline = step.baseline
            method = build_method(baseline.method, baseline.hyperparameters)
            ticket = self.selection(step.ticket.key) if step.ticket.key else None
            attached = method.attach(model, ticket=ticket, seed=step.seed)
            content = self.store.read_bytes("state", step.state_key, "state.safetensors")
            load_state(attached, load(content))
            merged = method.merge(attached)
            assert merged is not None, f"{baseline.method} was to be refused before the start"
            model = merged.requires_grad_(False)
        return model

    def is_tied(self, precision: Precision) -> bool:
        """Tell whether the base model ties its embeddings."""
        return is_tied(self._pristine(precision))

    def has_dropout(self, precision: Precision) -> bool:
        """Tell whether the base model draws at random while it is trained."""
        return has_dropout(self._pristine(precision))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the base model's tokenizer."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.setting.model)
        return self._tokenizer

    def examples(self, spec: TaskSpec, split: Split) -> Examples:
        """Return one split of a task."""
        if (spec, split) not in self._examples:
            self._examples[spec, split] = build_task(spec).read(split)
        return self._examples[spec, split]

    def sentence_places(self, spec: TaskSpec, split: Split) -> Places:
        """Return the token ids of every prompt, and which of them lie in the example's own text."""
        if (spec, split) not in self._places:
            items = self.examples(spec, split).items
            self._places[spec, split] = sentence_places(build_task(spec), items, self.tokenizer)
        return self._places[spec, split]

    def encoded(self, spec: TaskSpec, max_seq_length: int) -> list[Encoded]:
        """Return the training examples of a task as token ids."""
        if (spec, max_seq_length) not in self._encoded:
            self._encoded[spec, max_seq_length] = encode_examples(
                build_task(spec),
                self.examples(spec, "train").items,
                self.tokenizer,
                max_seq_length=max_seq_length,
            )
        return self._encoded[spec, max_seq_length]

    def tuning_text(self, baseline: Baseline, spec: TaskSpec) -> Sequence[Encoded]:
        """Return the training examples that a baseline uses of a task."""
        return tuned_share(baseline, self.encoded(spec, baseline.train.max_seq_length))

    def attach(
        self,
        baseline: Baseline,
        ticket: AnyTicket | None,
        seed: int,
        parents: Sequence[Step] = (),
    ) -> nn.Module:
        """Return a fresh copy of the model that parents left, with a baseline's method attached."""
        method = build_method(baseline.method, baseline.hyperparameters)
        model = self.model(baseline.train.precision, parents)
        return method.attach(model, ticket=ticket, seed=seed)

    def ticket_of(self, work: Work) -> AnyTicket | None:
        """Read the ticket of a piece of work, and check that it is for the model it was found in."""
        if work.ticket_key is None:
            return None
        ticket, precision = self.selection(work.ticket_key), work.baseline.train.precision
        digest = self.digest(ticket.tensor, precision, work.parents[: work.ticket_after])
        if isinstance(ticket, Mask):
            ticket.check_base(digest)
        else:
            ticket.check_base(base_digest=digest, tokenizer_digest=tokenizer_digest(self.tokenizer))
        return ticket

    def selection(self, key: str) -> AnyTicket:
        """Read a ticket or a mask."""
        return read_selection(self.store.read_ticket(key))

    def scope(self, name: str, precision: Precision, parents: Sequence[Step] = ()) -> Scope:
        """Return a scope of the model that parents left; its rows are as fp32 masters start from them."""
        return find_scope(self._pristine(precision, parents), name)

    def layers(self, precision: Precision, parents: Sequence[Step] = ()) -> dict[str, Tensor]:
        """Return the weights of the linear layers in the model that parents left: shared, only to be read."""
        layers = linear_layers(self._pristine(precision, parents))
        return {name: one.weight.detach() for name, one in layers.items()}

    def digest(self, scope: str, precision: Precision, parents: Sequence[Step] = ()) -> str:
        """Return the digest of a scope's weights in the model that parents left."""
        key = scope, precision, parents[-1].state_key if parents else None
        if key not in self._digests:
            if scope == LAYERS:
                weights = self.layers(precision, parents).values()
                told = " ".join(map(matrix_digest, weights))
                digest = hashlib.sha256(told.encode()).hexdigest()
            else:
                digest = matrix_digest(self.scope(scope, precision, parents).matrix())
            self._digests[key] = digest
        return self._digests[key]

    def peaks(self) -> list[dict[str, int | None]]:
        """Return the peak memory of every rank; a collective call."""
        peaks: list[Any] = [measure.peak_memory(self.worker.device)]
        if self.worker.world_size > 1:
            mine, peaks = peaks[0], [None] * self.worker.world_size
            dist.all_gather_object(peaks, mine)
        return peaks

    def provenance(self) -> dict[str, Any]:
        """Return what every record says of where its numbers come from."""
        return {
            "model": asdict(self.setting.model),
            "provenance": {
                "versions": measure.package_versions(),
                "hardware": measure.hardware(self.worker.device),
                "git_commit": measure.git_commit(),
                "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        }


def tuned_share(baseline: Baseline, things: Sequence[_Thing]) -> Sequence[_Thing]:
    """Return of things that go with the training examples, in their order, those that a baseline uses."""
    return things[: math.ceil(baseline.train.data_share * len(things))]
