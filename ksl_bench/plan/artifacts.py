"""Artifacts by key: what is hashed of each, and what it needs.

A key hashes what an artifact is made from, never the name of a suite or a baseline. So rows, suites and
sweeps share what they have in common, and finished work is found again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sacrebleu

from ksl_bench.config import Baseline, Split, Suite, TicketSpec, step_name
from ksl_bench.evaluation import scoring
from ksl_bench.lottery.entries import REST, criterion_needs
from ksl_bench.methods import build_method
from ksl_bench.methods.base import hyperparameters
from ksl_bench.models import ModelReference
from ksl_bench.plan.text import Text
from ksl_bench.plan.work import Detector, Kind, Selected, Source, Step, Work
from ksl_bench.store import key_of
from ksl_bench.tasks.readings import READINGS

NUMERICS = 1
"""Raised when the same inputs would give other numbers: then nothing old counts as finished."""

LATER = frozenset({"layer_part", "quantize"})
"""Fields of methods that stand in a key only where they are given: what was made before them is found."""


class Artifacts:
    """Collects works by key while rows are planned."""

    def __init__(
        self, suite: Suite, model: ModelReference, texts: Mapping[tuple[str, Split], Text]
    ) -> None:
        """Begin with none."""
        self.suite, self.model, self.texts = suite, model, texts
        self.works: dict[str, Work] = {}

    def _add(
        self,
        kind: Kind,
        condition: str,
        inputs: dict[str, Any],
        *,
        parents: tuple[Step, ...] = (),
        **fields: Any,
    ) -> str:
        if parents and kind != "evaluation":  # what an evaluation scores is known by its state
            inputs["parent"] = parents[-1].state_key
        key = key_of({"kind": kind, "numerics": NUMERICS, **inputs})
        if key not in self.works:
            before = () if kind == "evaluation" else [one.condition for one in parents]
            self.works[key] = Work(
                kind=kind,
                key=key,
                condition=step_name([*before, condition]),
                task=self.suite.tasks[condition],
                inputs=inputs,
                parents=parents,
                **fields,
            )
        return key

    def state(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        ticket: Selected,
        parents: tuple[Step, ...],
    ) -> str:
        """Return the key of a state: a baseline tuned on one condition, from what its parents left."""
        # How often a run is saved does not change what it becomes; what came later stands in a key only where
        # it is used, so that what was made before it is found.
        later = {"data_share"} if baseline.train.data_share == 1 else set()
        train = baseline.train.model_dump(mode="json", exclude={"checkpoint_every_steps", *later})
        inputs = {
            "base": self.model.digest,
            "train": train,
            "text": self.texts[condition, "train"].inputs,
            "method": method_inputs(baseline),
            "seed": seed,
            "ticket": ticket.key,
            "workers": self.suite.resources.workers_per_run,
            "zero_stage": self.suite.resources.zero_stage,
        }
        return self._add(
            "state",
            condition,
            inputs,
            parents=parents,
            baseline=baseline,
            seed=seed,
            ticket_key=ticket.key,
            ticket_after=ticket.after,
        )

    def ticket(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        parents: tuple[Step, ...],
        before: tuple[Step, ...] | None = None,
    ) -> Selected:
        """Plan the ticket of a baseline at one step.

        Args:
            baseline: As it is tuned at this step.
            seed: Of the row.
            condition: That is tuned on.
            parents: The steps behind it.
            before: Whose tickets a disjoint one has nothing in common with; the parents' as a rule.
        """
        spec = baseline.ticket
        if spec is None:
            return Selected()
        before = parents if before is None else before
        if spec.in_sequence == "shared" and parents:
            return Selected(key=parents[0].ticket.key)
        excluded = [one.ticket.key for one in before if one.ticket.key is not None]
        excluded = excluded if spec.in_sequence == "disjoint" else []
        source = self.suite.baseline(spec.source).at_step(len(parents)) if spec.source else None
        others: tuple[Source, ...] = ()
        if source is not None and spec.criterion == REST:
            other = self.ticket(source, seed, condition, parents)
            others, source = tuple(other.chain(f" of {source.name}")), None
            excluded += [other.key] if other.key is not None else []
        source_key = self.state(source, seed, condition, Selected(), parents) if source else None
        key = self._select(
            baseline,
            spec,
            seed,
            condition,
            parents=parents,
            excluded=tuple(dict.fromkeys(excluded)),
            state_key=source_key,
            state_baseline=source,
        )
        return Selected(key, source_key, len(parents), others)

    def _select(
        self,
        baseline: Baseline,
        spec: TicketSpec,
        seed: int,
        condition: str,
        *,
        excluded: tuple[str, ...],
        state_key: str | None,
        **fields: Any,
    ) -> str:
        inputs: dict[str, Any] = {
            "base": self.model.digest,
            "criterion": spec.criterion,
            "scope": spec.scope,
            "k": spec.k,
            "alpha": spec.alpha,
            "state": state_key,
            "precision": baseline.train.precision,
            "text": self.texts[condition, "train"].inputs,
            "max_seq_length": baseline.train.max_seq_length,
        }
        if spec.sparsity is not None:
            inputs["sparsity"] = spec.sparsity
        if baseline.train.data_share < 1:
            inputs["data_share"] = baseline.train.data_share
        needs = criterion_needs(spec.criterion)
        if "seed" in needs:
            inputs["seed"] = seed
        if "gradient" in needs and baseline.hyperparameters.get("sides") == "both":
            inputs["sides"] = "both"
        if excluded:
            inputs["exclude"] = sorted(excluded)
        return self._add(
            "ticket",
            condition,
            inputs,
            baseline=baseline,
            seed=seed,
            state_key=state_key,
            excluded=excluded,
            **fields,
        )

    def evaluation(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        *,
        state_key: str | None = None,
        ticket: Selected | None = None,
        parents: tuple[Step, ...] = (),
        merged: tuple[Step, ...] = (),
        detector: Detector | None = None,
    ) -> str:
        """Return the key of an evaluation under one condition: of a state, a merge, or the base itself."""
        ticket, detector = ticket or Selected(), detector or Detector()
        evaluate, probe = self.suite.evaluate, baseline.probe
        inputs = {
            "base": self.model.digest,
            "method": method_inputs(baseline),
            "state": state_key,
            "ticket": ticket.key,
            "text": self.texts[condition, evaluate.split].inputs,
            "evaluate": evaluate.model_dump(mode="json"),
            "sacrebleu": sacrebleu.__version__,
            "scoring": scoring.VERSION,
        }
        if (documents := self.texts[condition, evaluate.split].documents) is not None:
            inputs["documents"] = documents
        if probe is not None:
            inputs["probe"] = {**probe.model_dump(mode="json", exclude={"of"}), "seed": seed}
        if baseline.merge is not None:
            inputs["merge"] = baseline.merge.model_dump(mode="json", exclude={"of"})
            inputs["states"] = [step.state_key for step in merged]
        if READINGS[self.suite.task.name].calibrates:
            inputs["calibration"] = self.texts[condition, "dev"].inputs
        if baseline.statistic is not None:
            inputs["statistic"] = baseline.statistic.name
            inputs["max_seq_length"] = baseline.train.max_seq_length
        inputs |= detector.inputs
        return self._add(
            "evaluation",
            condition,
            inputs,
            parents=parents,
            baseline=baseline,
            seed=seed,
            state_key=state_key,
            ticket_key=ticket.key,
            selected=tuple(ticket.chain()),
            ticket_after=ticket.after,
            merged=merged,
            performer=detector.performer,
            voters=detector.voters,
            ballots=detector.ballots,
        )


def method_inputs(baseline: Baseline) -> dict[str, Any]:
    """Return what of a baseline's method enters keys."""
    method = build_method(baseline.method, baseline.hyperparameters)
    given = hyperparameters(method).items()
    return {
        "name": baseline.method,
        **{name: value for name, value in given if name not in LATER or value is not None},
        "precision": baseline.train.precision,
    }
