"""What a run shows: one baseline under one seed, as the store has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard import peak_bytes
from ksl_bench.leaderboard.board import price_of
from ksl_bench.leaderboard.runs import Run
from ksl_bench.store import Store, key_of
from ksl_bench.tracking.client import Point
from ksl_bench.tracking.samples import SAMPLES_FILE, SHOWN_AS_TABLE, sample_table

LAYOUT = 4
"""Raised when runs show something else of the same records: then each is written anew, once."""
EVALUATION_TAG = "ksl_bench.evaluation"
IDENTITY = ("suite", "baseline", "seed", "condition", "scored_under", EVALUATION_TAG)
"""Tags by which a run is found again."""

LONGEST = 1000
"""Characters of a tag or parameter; MLflow refuses more than 8,000 and 6,000, its pages show far fewer."""

_COSTS = (
    "selection_seconds",
    "train_seconds",
    "earlier_seconds",
    "evaluate_seconds",
    "device_hours",
    "state_bytes",
    "train_tokens_per_second",
    "generated_tokens_per_second",
)
_RUN_STATUS = {"finished": "FINISHED", "pending": "SCHEDULED", "running": "RUNNING"}


def identity_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return what tells a run from all others of its experiment."""
    return tuple(tags.get(name, "") for name in IDENTITY)


class Row:
    """One row of a suite's plan, with its result as far as there is one."""

    def __init__(
        self,
        store: Store,
        suite: str,
        plan: Mapping[str, Any],
        row: Mapping[str, Any],
        run: Run,
        recipe: Mapping[str, Any],
    ) -> None:
        """Take a row of a plan, what the store knows of it, and its baseline as it runs there."""
        self._store, self._suite, self._plan, self._row = store, suite, plan, row
        self._recipe = recipe
        self.result = run.result if run.finished else None
        self.reason = run.reason or ""
        self.status = run.status
        if run.status == "pending" and self._lines():
            self.status = "running"

    @property
    def name(self) -> str:
        """Return what the run is called in MLflow."""
        condition, scored_under = self._row["condition"], self._row["scored_under"]
        where = f" {condition}" if self._plan["suite"]["conditions"] else ""
        where += f" under {scored_under}" if scored_under != condition else ""
        return f"{self._row['baseline']}{where} seed {self._row['seed']}"

    @property
    def begun(self) -> bool:
        """Return whether there is anything to show."""
        return self.status != "pending"

    @property
    def run_status(self) -> str:
        """Return the row's status in MLflow's words."""
        return _RUN_STATUS.get(self.status, "FAILED")

    @property
    def shown(self) -> str:
        """Return a digest of all that the run shows beside its steps."""
        digest = self.result["digest"] if self.result is not None else None
        price = price_of(self._plan)
        return key_of({"layout": LAYOUT, "tags": self.tags(), "record": digest, "price": price})

    @property
    def end_ms(self) -> int | None:
        """Return when the evaluation was finished, None where that is not known."""
        stamp = ((self.result or {}).get("provenance") or {}).get("finished_at")
        if stamp is None:
            return None
        ended = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return int(1000 * ended.timestamp())

    @property
    def start_ms(self) -> int | None:
        """Return when the work on a finished row began, as if it had been done in one go."""
        if self.result is None or self.end_ms is None:
            return None
        cost = self.result["cost"]
        return self.end_ms - int(1000 * (cost["train_seconds"] + cost["evaluate_seconds"]))

    def tags(self) -> dict[str, str]:
        """Return the same tags for every run, so that sorting and filtering work."""
        ticket = self._recipe.get("ticket") or {}
        suite, row = self._plan["suite"], self._row
        task = (suite["conditions"] or {}).get(row["scored_under"], suite["task"])
        tags = {
            "kind": "run",
            "suite": self._suite,
            "baseline": row["baseline"],
            "method": self._recipe["method"],
            "seed": row["seed"],
            "k": ticket.get("k") or (self.result or {}).get("ticket_rows") or "",
            "criterion": ticket.get("criterion") or "",
            "probe": self._recipe.get("probe") or "",
            "condition": row["condition"],
            "scored_under": row["scored_under"],
            "template": task["prompt"],
            "status": self.status,
            "reason": self.reason,
            EVALUATION_TAG: row["evaluation"],
            **self._made_with(),
        }
        return {name: str(value)[:LONGEST] for name, value in tags.items()}

    def _made_with(self) -> dict[str, Any]:
        """Return signatures, hardware and versions of a finished row."""
        if self.result is None:
            return {}
        made = self.result.get("provenance") or {}
        scores: Mapping[str, Any] = next(iter(self.result["scores"].values()))
        return {
            **{f"signature.{name}": score["signature"] for name, score in scores.items()},
            **{f"hardware.{name}": value for name, value in made.get("hardware", {}).items()},
            **{f"version.{name}": value for name, value in made.get("versions", {}).items()},
            "git_commit": made.get("git_commit") or "",
            "mlflow.loggedArtifacts": SHOWN_AS_TABLE,
        }

    def params(self) -> dict[str, str]:
        """Return the hyperparameters, each as short text."""
        model = self._plan["model"]
        wanted = {
            "model": model["name"],
            "revision": model["revision"],
            **self._recipe["hyperparameters"],
            **self._recipe["train"],
        }
        return {name: str(value)[:LONGEST] for name, value in wanted.items() if value is not None}

    def steps(self, after: int) -> tuple[int, list[Point]]:
        """Return the last step that the store has, and the curves beyond the steps that are logged."""
        lines = [one for one in map(json.loads, self._lines()) if one["step"] > after]
        points = [
            (name, value, line["step"])
            for line in lines
            for name, value in (
                ("loss", line["loss"]),
                ("learning_rate", line["learning_rate"]),
                ("tokens_per_second", line["tokens"] / line["seconds"]),
            )
        ]
        return (lines[-1]["step"] if lines else after), points

    def _lines(self) -> list[str]:
        key = self._row["state"]
        return self._store.read_lines("state", key, "metrics.jsonl") if key else []

    def metrics(self) -> dict[str, float]:
        """Return the final numbers, by names that hold for all suites; none before there is a result."""
        if self.result is None:
            return {}
        cost, ticket_rows = self.result["cost"], self.result.get("ticket_rows")
        price = price_of(self._plan)
        numbers = {
            **{
                f"{metric}/{rule}": score["value"]
                for rule, metrics in self.result["scores"].items()
                for metric, score in metrics.items()
            },
            "eos_rate": self.result["diagnostics"].get("eos_rate"),
            "trainable_parameters": self.result["parameters"]["trainable"],
            "ticket_rows": ticket_rows,
            **{name: cost.get(name) for name in _COSTS},
            "money": None if price is None else price * cost["device_hours"],
            "peak_memory_bytes": peak_bytes(cost),
            # The prefix puts them on MLflow's page of system metrics.
            **{f"system/{name}": value for name, value in _peaks(cost).items()},
        }
        return {name: float(value) for name, value in numbers.items() if value is not None}

    def artifacts(self) -> dict[str, bytes]:
        """Return the files that go with the run."""
        if self.result is None:
            return {}
        outputs = self._read("evaluation", self._row["evaluation"], "outputs.jsonl")
        rule = VerdictSpec(**self._plan["suite"].get("verdicts", {})).rule
        files = {
            "result.json": json.dumps(self.result, indent=2).encode(),
            "outputs.jsonl": outputs,
            SAMPLES_FILE: sample_table(outputs, rule),
        }
        files["config.yaml"] = self._config()
        return files

    def _config(self) -> bytes:
        """Return how the row's state was trained; of a row that trains nothing, its recipe."""
        state = self._row["state"]
        if state and self._store.is_finished("state", state):
            return self._read("state", state, "config.yaml")
        return yaml.safe_dump(dict(self._recipe), sort_keys=False).encode()

    def _read(self, kind: str, key: str, name: str) -> bytes:
        return self._store.read_bytes(kind, key, name)


def _peaks(cost: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the peak memory of the hungriest worker, by what it did."""
    return {
        f"{work}_peak_memory_bytes": max(
            (
                int(rank["reserved"] or rank["allocated"])
                for rank in cost[f"{work}_peak_memory"] or ()
            ),
            default=None,
        )
        for work in ("train", "evaluate")
    }
