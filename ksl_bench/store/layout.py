"""Where an artifact's files are.

Every kind, key and name is checked here, with a StorageError, so that no path leaves the root.
"""

from __future__ import annotations

import re

from ksl_bench.errors import StorageError

TICKET = "ticket"
"""The name of a ticket's only file."""

FOLDERS = {"state": "states", "ticket": "tickets", "evaluation": "evaluations"}
PLANS = "suites"
BUNDLES = "bundles"
AUDITS = "audits"
LEASES = "leases"
_RECORDS = {"state": "state.json", "evaluation": "result.json"}
CHAIN = (
    ("source_state", "state"),
    ("ticket", "ticket"),
    ("state", "state"),
    ("evaluation", "evaluation"),
)
"""Fields of a plan's row that name its artifacts, with the kind of each, sources first."""
KEY = re.compile(r"[0-9a-f]{20}")
STAMP = re.compile(r"\d{8}T\d{6}Z")
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def named(name: str) -> str:
    """Return a name that is safe in a path."""
    if not NAME.fullmatch(name):
        raise StorageError(f"not a name for a file: {name!r}; letters, digits, '.', '_', '-'")
    return name


def body_path(kind: str, key: str) -> str:
    """Return the folder that holds an artifact's files, or a ticket's only file."""
    if kind not in FOLDERS:
        raise StorageError(f"unknown kind of artifact {kind!r}. Known: {', '.join(FOLDERS)}")
    if not KEY.fullmatch(key):
        raise StorageError(f"not a key ({kind}): {key!r}; must be 20 hex digits")
    suffix = ".safetensors" if kind == "ticket" else ""
    return f"{FOLDERS[kind]}/{key}{suffix}"


def record_path(kind: str, key: str) -> str:
    """Return where the record of an artifact is."""
    body = body_path(kind, key)
    if kind == "ticket":
        return f"{body.removesuffix('.safetensors')}.json"
    return f"{body}/{_RECORDS[kind]}"


def file_path(kind: str, key: str, name: str) -> str:
    """Return where a file of an artifact is."""
    body = body_path(kind, key)
    if kind == "ticket":
        if name != TICKET:
            raise StorageError(f"a ticket has one file, {TICKET!r}; got {name!r}")
        return body
    if name == _RECORDS[kind]:
        raise StorageError(f"{name!r} is the record of a {kind}, not one of its files")
    return f"{body}/{named(name)}"


def audit_path(key: str) -> str:
    """Return where the audit of a ticket is."""
    if not KEY.fullmatch(key):
        raise StorageError(f"not a key (ticket): {key!r}; must be 20 hex digits")
    return f"{AUDITS}/{key}.json"


def bundle_path(key: str) -> str:
    """Return where the results that are read together are."""
    if not KEY.fullmatch(key):
        raise StorageError(f"not a key (bundle): {key!r}; must be 20 hex digits")
    return f"{BUNDLES}/{key}.zip"


def plan_path(name: str, at: str | None = None) -> str:
    """Return where the plan of a suite is; `at` is the stamp of an earlier one."""
    if at is None:
        return f"{PLANS}/{named(name)}.json"
    if not STAMP.fullmatch(at):
        raise StorageError(f"not the stamp of a plan: {at!r}; must be like 20261124T023000Z")
    return f"{PLANS}/{named(name)}@{at}.json"
