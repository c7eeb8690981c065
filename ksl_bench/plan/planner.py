"""The rows of a suite, planned: alone under every condition, in sequence, merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ksl_bench.config import Baseline, ModelSpec, Suite, step_name, step_names
from ksl_bench.methods import METHODS
from ksl_bench.models import ModelReference, find_asked
from ksl_bench.plan.artifacts import Artifacts
from ksl_bench.plan.rows import Plan, Row
from ksl_bench.plan.text import Texts, read_texts
from ksl_bench.plan.work import Ballot, Detector, Setting, Source, Step


class Planner:
    """Plans one row after another over the same artifacts."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Take what collects the works."""
        self.artifacts, self.suite = artifacts, artifacts.suite
        self._models: dict[ModelSpec, ModelReference] = {}

    def rows(self, baseline: Baseline, seed: int) -> Iterator[Row]:
        """Plan a baseline under one seed: alone under every condition, in sequence, or merged."""
        suite = self.suite
        if baseline.merge is not None:
            yield from self._merged(baseline, suite.baseline(baseline.merge.of), seed)
            return
        for condition in suite.tasks:
            others = suite.tasks if baseline.name in suite.transfer else (condition,)
            yield from self._tuned(baseline.at_step(0), seed, condition, (), others)[1]
        if suite.sequence and baseline.probe is None and METHODS[baseline.method].trains:
            steps: tuple[Step, ...] = ()
            for place, condition in enumerate(suite.sequence):
                tuned = baseline.at_step(place)
                steps, rows = self._tuned(tuned, seed, condition, steps, suite.sequence)
                yield from rows

    def _tuned(
        self,
        baseline: Baseline,
        seed: int,
        condition: str,
        parents: tuple[Step, ...],
        scored: Iterable[str],
    ) -> tuple[tuple[Step, ...], list[Row]]:
        """Plan a state that is tuned on one condition, and its rows; return its steps, itself the last."""
        ticket = self.artifacts.ticket(baseline, seed, condition, parents)
        state_key, steps = None, parents
        if METHODS[baseline.method].trains:
            state_key = self.artifacts.state(baseline, seed, condition, ticket, parents)
            steps = (*parents, Step(baseline, condition, seed, state_key, ticket))
        before = (*(one for step in parents for one in step.chain()), *ticket.others)
        own: tuple[Source, ...] = (("state", state_key, ""),) if state_key is not None else ()
        rows = []
        for under in scored:
            detector = self._detector(baseline, seed, condition, under)
            key = self.artifacts.evaluation(
                baseline,
                seed,
                under,
                state_key=state_key,
                ticket=ticket,
                parents=parents,
                detector=detector,
            )
            itself = Ballot(baseline.name, key, tuple(ticket.chain()), (*detector.sources, *own))
            rows.append(
                Row(
                    baseline=baseline.name,
                    seed=seed,
                    condition=step_name([*(one.condition for one in parents), condition]),
                    scored_under=under,
                    evaluation_key=key,
                    state_key=state_key,
                    ticket_key=ticket.key,
                    source_state_key=ticket.source_state_key,
                    earlier=(*before, *detector.sources),
                    ballots=detector.ballots or (itself,),
                )
            )
        return steps, rows

    def _detector(self, baseline: Baseline, seed: int, condition: str, under: str) -> Detector:
        """Return what a statistic or a vote needs of other rows; nothing for other baselines."""
        if baseline.vote is not None:
            rows = [
                self._tuned(self.suite.baseline(name).at_step(0), seed, condition, (), (under,))[1]
                for name in baseline.vote.of
            ]
            found = [row for some in rows for row in some]
            return Detector(
                voters=tuple(row.evaluation_key for row in found),
                ballots=tuple(
                    {one.evaluation_key: one for row in found for one in row.ballots}.values()
                ),
                sources=tuple(source for row in found for source in row.as_voter()),
            )
        spec = baseline.statistic.performer if baseline.statistic is not None else None
        if spec is None:
            return Detector()
        if spec.model is not None:
            if spec.model not in self._models:
                where = f"baselines.{baseline.name}.statistic.performer.model.name_or_path"
                self._models[spec.model] = find_asked(spec.model, option=where, weights=False)
            return Detector(performer=self._models[spec.model])
        assert spec.baseline is not None
        other = self.suite.baseline(spec.baseline).at_step(0)
        (step,), _ = self._tuned(other, seed, condition, (), ())
        return Detector(performer=step, sources=tuple(step.chain(f"its performer {other.name}")))

    def _merged(self, baseline: Baseline, of: Baseline, seed: int) -> Iterator[Row]:
        """Plan a merge: a state from the base for each task, and one model of them all."""
        steps: tuple[Step, ...] = ()
        for place, condition in enumerate(self.suite.joined):
            tuned = of.at_step(place)
            before = steps if tuned.ticket and tuned.ticket.in_sequence == "disjoint" else ()
            ticket = self.artifacts.ticket(tuned, seed, condition, (), before)
            state_key = self.artifacts.state(tuned, seed, condition, ticket, ())
            steps = (*steps, Step(tuned, condition, seed, state_key, ticket))
        for under in self.suite.joined:
            yield Row(
                baseline=baseline.name,
                seed=seed,
                condition=step_name(self.suite.joined),
                scored_under=under,
                evaluation_key=self.artifacts.evaluation(baseline, seed, under, merged=steps),
                state_key=None,
                ticket_key=None,
                source_state_key=None,
                earlier=tuple(one for step in steps for one in step.chain()),
            )


def make_plan(suite: Suite, model: ModelReference, *, texts: Texts | None = None) -> Plan:
    """Read the data's digests and plan every row of a suite.

    Args:
        suite: Validated.
        model: The base model that was found for it.
        texts: What was read already, and takes what is read now; read anew where none is given.

    Raises:
        ConfigError: If there are not two segments to score.
        DataError: If a split cannot be read.
    """
    found = read_texts(suite, {} if texts is None else texts)
    artifacts = Artifacts(suite, model, found)
    planner = Planner(artifacts)
    planned = [
        row
        for seed in suite.seeds
        for baseline in suite.baselines
        for row in planner.rows(baseline, seed)
    ]
    # By condition first, as a leaderboard has them; the first step of a sequence stands there already.
    names = dict.fromkeys([*suite.tasks, *step_names(suite.sequence), step_name(suite.joined)])
    order = {name: place for place, name in enumerate(names)}
    planned.sort(key=lambda row: order[row.condition])
    rows = {(row.condition, row.seed, row.baseline, row.scored_under): row for row in planned}
    setting = Setting(
        suite=suite.name,
        model=model,
        evaluate=suite.evaluate,
        workers_per_run=suite.resources.workers_per_run,
        zero_stage=suite.resources.zero_stage,
        device_price_per_hour=suite.resources.price_per_device_hour,
        pack=suite.resources.pack,
    )
    data: dict[str, dict[str, Any]] = {}
    for (condition, split), text in found.items():
        data.setdefault(condition, {})[split] = text.data
    return Plan(suite, setting, tuple(rows.values()), artifacts.works, data)
