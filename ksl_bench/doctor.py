"""What will fail, before it does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ksl_bench import measure
from ksl_bench.auth import masked
from ksl_bench.cluster.capacity import check_this_machine
from ksl_bench.config import ModelSpec
from ksl_bench.errors import KslBenchError
from ksl_bench.evaluation.metrics import check_tokenizer_files, tokenizer_file
from ksl_bench.models import TINY_BASE, find_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.tasks.readings import TEXT_METRICS
from ksl_bench.tracking import Tracker, tracking_uri

LOW_DISK_BYTES = 5 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "note", "error"]
    what: str
    said: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def examine(store: Store, suite: str | None) -> list[Finding]:
    """Look at this machine, the storage, and what a suite needs.

    Args:
        store: Where artifacts would live.
        suite: Name or path of a suite, or None.

    Returns:
        What was found; an `error` means that a run would fail.
    """
    findings = [
        Finding(
            "ok", "versions", ", ".join(f"{k} {v}" for k, v in measure.package_versions().items())
        ),
        Finding("ok", "device", _devices()),
        *_storage(store),
        _ray(),
        _mlflow(store),
        _shipped_model(),
        *_tokenizers(),
        _hub(),
    ]
    if suite is not None:
        findings += _suite(suite, store)
    return findings


def _devices() -> str:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"{len(names)} GPU: {', '.join(sorted(set(names)))}"
    return f"no GPU; {os.cpu_count()} CPU cores: {measure.hardware(torch.device('cpu'))['device']}"


def _storage(store: Store) -> Iterator[Finding]:
    try:
        store.check_writable()
    except KslBenchError as error:
        yield Finding("error", "storage", str(error))
        return
    yield Finding("ok", "storage", f"{store.root} can be written")
    if Path(store.root).is_absolute():
        place = next(one for one in (Path(store.root), *Path(store.root).parents) if one.exists())
        free = shutil.disk_usage(place).free
        level: Literal["ok", "note"] = "note" if free < LOW_DISK_BYTES else "ok"
        yield Finding(level, "disk", f"{free / 2**30:.1f} GiB free")


def _ray() -> Finding:
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        return Finding("ok", "ray", f"a run starts one here: {os.cpu_count()} CPU, loopback only")
    return Finding("note", "ray", f"RAY_ADDRESS={address} is used only where --address names it")


def _mlflow(store: Store) -> Finding:
    try:
        uri = tracking_uri(store, None)
    except KslBenchError as error:
        return Finding("error", "mlflow", str(error))
    if uri.startswith("sqlite:"):
        return Finding("ok", "mlflow", uri)
    try:
        Tracker(store).ping()
    except KslBenchError as error:
        return Finding("note", "mlflow", f"{error}; results do not need it")
    return Finding("ok", "mlflow", f"{masked(uri)} answers")


def _shipped_model() -> Finding:
    try:
        found = find_model(ModelSpec(name_or_path=TINY_BASE))
    except KslBenchError as error:
        return Finding("error", "tiny base", str(error))
    return Finding("ok", "tiny base", f"{found.location}, SHA-256 {found.digest[:12]}")


def _tokenizers() -> Iterator[Finding]:
    for name in TEXT_METRICS:
        path = tokenizer_file(name)
        if path is None:
            yield Finding("ok", name, "can be computed")
        elif path.exists():
            yield Finding("ok", name, f"can be computed, with {path}")
        else:
            yield Finding("note", name, f"cannot be computed: put sacrebleu's file at {path}")


def _hub() -> Finding:
    from huggingface_hub import HfApi, constants, get_token

    token = "a token is set" if get_token() else "no token is set (HF_TOKEN)"
    if constants.HF_HUB_OFFLINE:
        return Finding("note", "hub", f"offline by HF_HUB_OFFLINE; only cached models; {token}")
    try:
        HfApi().model_info("gpt2", timeout=5)
    except Exception as error:  # whatever stands in the way, it is what a run would meet
        return Finding("note", "hub", f"cannot be reached ({type(error).__name__}); {token}")
    return Finding("ok", "hub", f"can be reached; {token}")


def _suite(name: str, store: Store) -> Iterator[Finding]:
    try:
        suite = load_suite(name, stored=store.plans.read)
        check_tokenizer_files(suite.evaluate.metrics)
        check_this_machine(suite.resources)
        plan = make_plan(suite, find_model(suite.model))
    except KslBenchError as error:
        yield from (Finding("error", f"suite {name}", problem) for problem in error.problems)
        return
    yield Finding("ok", f"suite {name}", f"{len(plan.works)} artifacts for {len(plan.rows)} rows")
