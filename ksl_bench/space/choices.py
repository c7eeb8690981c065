"""A checked space, and what a choice of it becomes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from ksl_bench.config import Baseline, Suite
from ksl_bench.errors import ConfigError
from ksl_bench.registry import unknown
from ksl_bench.space.spec import Domain, SpaceSpec
from ksl_bench.suite import build_suite, find_file, new_seeds, parse_set, read_yaml
from ksl_bench.suite.problems import problem_lines

Assignments = list[tuple[list[str], Any]]

SOURCE = "from."
"""Begins the path of a field of the baseline that a ticket is found in."""


class Space:
    """A checked space: its suite, and how a choice becomes a baseline."""

    def __init__(self, spec: SpaceSpec, content: dict[str, Any], changes: Sequence[str]) -> None:
        """Take a space and its suite's YAML.

        Raises:
            ConfigError: With every problem.
        """
        self.spec = spec
        self._content = content
        self._changes = parse_set([*changes, "evaluate.split=dev"])
        self._changes = self._below_choices(self._changes)
        self.suite = self._build([])
        self.tried: tuple[Baseline, ...] = self._check()
        """Every listed value and both bounds of every range, as baselines: what a model is checked for."""

    @property
    def is_adaptive(self) -> bool:
        """Whether what is tried next depends on what was scored before."""
        return self.spec.search.algorithm == "optuna" or self.spec.scheduler.name == "asha"

    def _below_choices(self, changes: Assignments) -> Assignments:
        """Spell out `train.*` for each baseline: as `--set` alone it would override the choices, too."""
        names = [one.name for one in self._build([]).baselines if one.probe is None]
        spelled: Assignments = []
        for path, value in changes:
            if path[0] == "train" and len(path) == 2:
                spelled += [(["baselines", name, *path], value) for name in names]
            else:
                spelled.append((path, value))
        return spelled

    def _build(self, assignments: Sequence[tuple[list[str], Any]]) -> Suite:
        suite = build_suite(copy.deepcopy(self._content), [*self._changes, *assignments])
        # Choices are made for each task alone: a sequence would score a choice on what came before it, too.
        alone = {"name": self.spec.name, "seeds": self.spec.seeds, "sequence": ()}
        return suite.model_copy(update=alone)

    def _check(self) -> tuple[Baseline, ...]:
        known = [one.name for one in self.suite.baselines]
        problems = [
            f"baselines.{name}: {unknown('baseline of the suite', name, known)}"
            for name in self.spec.baselines
            if name not in known
        ]
        if self.spec.objective.metric not in self.suite.evaluate.metrics:
            metrics = ", ".join(self.suite.evaluate.metrics)
            problems.append(
                f"objective.metric: must be one of {metrics}, got {self.spec.objective.metric!r}"
            )
        if self.spec.search.algorithm == "grid":
            problems += self._check_grid()
        if problems:
            raise ConfigError(problems)
        tried: list[Baseline] = []
        for name in self.spec.baselines:
            if self.spec.scheduler.first_steps is not None:
                self.full_steps(name)
            tried += self._try_values(name)
        return tuple(tried)

    def _try_values(self, name: str) -> Iterator[Baseline]:
        """Let the suite judge every listed value and both bounds, so that no trial meets a wrong one."""
        domains = self.spec.baselines[name]
        usual = {path: _ends(one)[0] for path, one in domains.items()}
        for path, domain in domains.items():
            for value in _ends(domain):
                yield self.trial(name, {**usual, path: value}).baselines[-1]

    def _check_grid(self) -> list[str]:
        problems = [
            f"baselines.{name}.{path}: a grid search needs listed values (grid)"
            for name, domains in self.spec.baselines.items()
            for path, domain in domains.items()
            if domain.grid is None
        ]
        if problems or not self.spec.equal_budget:
            return problems
        counts = {name: len(self.grid(name)) for name in self.spec.baselines}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            problems.append(
                f"baselines: not the same number of trials for each ({told}); or equal_budget: false"
            )
        return problems

    def grid(self, name: str) -> list[dict[str, Any]]:
        """Return all choices of a baseline, the last path varying fastest."""
        domains = self.spec.baselines[name]
        values = [domain.grid or () for domain in domains.values()]
        return [dict(zip(domains, one, strict=True)) for one in itertools.product(*values)]

    def budget(self, name: str) -> int:
        """Return how many choices a sweep makes for a baseline, however far it trains each."""
        return self.spec.search.trials or len(self.grid(name))

    def choices(self, name: str) -> list[dict[str, Any]]:
        """Return the choices of a baseline known beforehand: a grid's, or those drawn by the seed."""
        search, domains = self.spec.search, self.spec.baselines[name]
        if search.algorithm == "grid":
            return self.grid(name)
        draw = np.random.default_rng([search.seed, list(self.spec.baselines).index(name)])
        return [
            {path: _drawn(domain, draw) for path, domain in domains.items()}
            for _ in range(search.trials or 0)
        ]

    def full_steps(self, name: str) -> int:
        """Return the optimizer steps of a baseline's own training.

        Raises:
            ConfigError: If it is given in epochs, of which a scheduler knows no number.
        """
        steps = self.suite.baseline(name).train.steps
        if steps is None:
            raise ConfigError(
                f"baselines.{name}.train.steps: must be given for scheduler asha, not epochs"
            )
        return steps

    def trial(self, name: str, choice: Mapping[str, Any], *, steps: int | None = None) -> Suite:
        """Return the suite of one choice: its baseline, renamed, and the sources it needs.

        Args:
            name: The baseline.
            choice: Values by path.
            steps: Optimizer steps instead of the baseline's own.

        Raises:
            ConfigError: If a value is not allowed where it stands.
        """
        source = self._source(name, choice)
        assignments = []
        for path, value in choice.items():
            owner, field = (
                (source, path.removeprefix(SOURCE)) if path.startswith(SOURCE) else (name, path)
            )
            assignments.append((["baselines", str(owner), *field.split(".")], value))
        if steps is not None:
            assignments.append((["baselines", name, "train", "steps"], steps))
        suite = self._build(assignments)
        own = {path: value for path, value in choice.items() if not path.startswith(SOURCE)}
        theirs = {path: value for path, value in choice.items() if path.startswith(SOURCE)}
        chosen = suite.baseline(name)
        needed: list[Baseline] = []
        if chosen.ticket is not None and chosen.ticket.source is not None:
            before = suite.baseline(chosen.ticket.source)
            renamed = before.model_copy(update={"name": label(before.name, theirs)})
            needed.append(renamed)
            ticket = chosen.ticket.model_copy(update={"source": renamed.name})
            chosen = chosen.model_copy(update={"ticket": ticket})
        named = label(name, {**own, **theirs} | ({"steps": steps} if steps is not None else {}))
        return suite.model_copy(
            update={"baselines": (*needed, chosen.model_copy(update={"name": named}))}
        )

    def _source(self, name: str, choice: Mapping[str, Any]) -> str | None:
        ticket = self.suite.baseline(name).ticket
        source = ticket.source if ticket is not None else None
        if source is None and any(path.startswith(SOURCE) for path in choice):
            raise ConfigError(
                f"baselines.{name}: {SOURCE}... needs a ticket that is found in a baseline"
            )
        return source


def _ends(domain: Domain) -> Sequence[Any]:
    return domain.grid or domain.loguniform or domain.uniform or ()


def _drawn(domain: Domain, draw: np.random.Generator) -> Any:
    if domain.grid is not None:
        return domain.grid[int(draw.integers(len(domain.grid)))]
    if domain.loguniform is not None:
        return float(np.exp(draw.uniform(*np.log(domain.loguniform))))
    assert domain.uniform is not None
    return float(draw.uniform(*domain.uniform))


def label(name: str, choice: Mapping[str, Any]) -> str:
    """Return the name of a baseline under a choice, e.g. `lora.learning_rate-0.01`."""
    parts = [f"{path.rpartition('.')[2]}-{_text(value)}" for path, value in choice.items()]
    return ".".join([name, *parts])


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(one if one.isalnum() or one in "._-" else "_" for one in text)


def load_space(
    name: str, assignments: Sequence[str] = (), *, seed_offset: str | None = None
) -> Space:
    """Load a search space by name or path.

    Args:
        name: Of the space, or the path of its YAML file.
        assignments: `--set`: changes of its suite, or with `space.` of the space itself.
        seed_offset: As of `with_new_seeds`.

    Raises:
        ConfigError: With every problem, each with its path in the YAML.
    """
    content = read_yaml(find_file("search space", name))
    own = [one.removeprefix("space.") for one in assignments if one.startswith("space.")]
    for path, value in parse_set(own):
        _assign(content, path, value)
    try:
        spec = SpaceSpec.model_validate(content)
    except ValidationError as error:
        raise ConfigError(problem_lines(error, SpaceSpec)) from None
    if seed_offset is not None:
        seeds, added = new_seeds(spec.seeds, seed_offset)
        spec = spec.model_copy(update={"name": f"{spec.name}.{added}", "seeds": seeds})
    changes = [*spec.set, *(one for one in assignments if not one.startswith("space."))]
    return Space(spec, read_yaml(find_file("suite", spec.suite)), changes)


def _assign(content: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *above, last = path
    for part in above:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set space.{'.'.join(path)}: {part} is no mapping")
    content[last] = value
