"""Artifacts by key, in a folder or an object store.

    <root>/states/<key>/{state.safetensors, config.yaml, metrics.jsonl, checkpoints/, state.json}
    <root>/tickets/<key>.safetensors, <key>.json
    <root>/evaluations/<key>/{outputs.jsonl, result.json}
    <root>/suites/<name>.json           the plan of the last run: see `plans`
    <root>/bundles/<digest>.zip         copies of results that are read together: see `bundles`
    <root>/leases/<key>.json            while a driver works on an artifact: see `leases`

An artifact is its record: a JSON object that names the digest of every file and is written last.
Without a record, whatever lies there does not count. What is found broken is renamed to
`*.corrupt-<n>`, never deleted, and counts as absent, so it is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ksl_bench.errors import StorageError
from ksl_bench.store.checkpoints import CheckpointFiles
from ksl_bench.store.files import Files, digest_of
from ksl_bench.store.layout import (
    FOLDERS,
    KEY,
    TICKET,
    body_path,
    file_path,
    named,
    record_path,
)
from ksl_bench.store.leases import Leases
from ksl_bench.store.local import Digest
from ksl_bench.store.plans import Plans
from ksl_bench.store.records import (
    SCHEMA,
    STATUSES,
    canonical,
    is_record,
    parse_object,
    render_record,
)


def key_of(inputs: Mapping[str, Any]) -> str:
    """Return the key of what is made from some inputs: 20 hex digits.

    The first 80 bits of the SHA-256 of canonical JSON; see `canonical`.

    Raises:
        TypeError: If JSON cannot hold the inputs as they are.
    """
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()[:20]


class Store:
    """Reads and writes artifacts; holds nothing but where they are, so it may be pickled."""

    def __init__(self, root: str | Files) -> None:
        """Take a folder, made absolute and not created yet, or a URI; or what reads and writes there.

        Raises:
            StorageError: If nothing is installed that reads such a URI.
        """
        self._files = root if isinstance(root, Files) else Files(root)
        self.root = self._files.root
        self.leases = Leases(self._files)
        """Of this process; a copy of the store in another process has its own."""
        self.plans = Plans(self._files)

    def __str__(self) -> str:
        return self.root

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.root,)

    @property
    def files(self) -> Files:
        """Return what the store is built on: for what looks after it as a whole."""
        return self._files

    def location(self, name: str) -> str:
        """Return where something else may lie beside the artifacts, as a path or a URI."""
        return self._files.location(named(name))

    def check_writable(self) -> None:
        """Check that the store can be written, and leave nothing behind.

        Raises:
            StorageError: If it cannot.
        """
        self._files.check_writable()

    # Records.

    def record(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the record of an artifact, None if there is none.

        A record that is broken or another's is set aside, and counts as none.

        Raises:
            StorageError: If it cannot be read, or a newer version of this package wrote it.
        """
        path = record_path(kind, key)
        content = self._files.read(path)
        if content is None:
            return None
        record = parse_object(content)
        schema = record.get("schema") if record else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise StorageError(
                f"{self._files.location(path)}: schema {schema} is of a newer version, "
                f"this one reads {SCHEMA}"
            )
        if record is not None and is_record(record, content, kind, key):
            return record
        self._files.set_aside(path, f"not the record of {kind} {key}")
        return None

    def is_finished(self, kind: str, key: str) -> bool:
        """Return whether an artifact is there and finished."""
        record = self.record(kind, key)
        return record is not None and record["status"] == "finished"

    def finish(
        self,
        kind: str,
        key: str,
        record: Mapping[str, Any],
        files: Mapping[str, bytes | Path] | None = None,
    ) -> None:
        """Write an artifact: its files, then its record.

        Args:
            kind: "state", "ticket" or "evaluation".
            key: Of the artifact.
            record: What is known of it; `status` is "finished" unless given. Numbers
                that are not finite become null: JSON has none.
            files: By name; a ticket has one, "ticket".

        Raises:
            StorageError: If it cannot be written.
        """
        status = record.get("status", "finished")
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}")
        paths = {name: file_path(kind, key, name) for name in files or {}}
        path = record_path(kind, key)
        # An older record would name other digests than the files have from now on.
        self._files.remove(path)
        digests = {name: self._files.write(paths[name], files[name]) for name in paths if files}
        head = {
            "schema": SCHEMA,
            "kind": kind,
            "key": key,
            "status": status,
            "reason": record.get("reason"),
        }
        whole = {**head, **record, **head, "files": digests}
        self._files.write(path, render_record(whole))

    def fail(self, kind: str, key: str, status: str, reason: str | None) -> None:
        """Write the record of an artifact that could not be made.

        It says when, so that it differs from that of an earlier attempt that ended the same way.
        """
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        self.finish(kind, key, {"status": status, "reason": reason, "failed_at": at})

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all evaluations, by key."""
        for key in self._files.names(FOLDERS["evaluation"]):
            record = self.record("evaluation", key) if KEY.fullmatch(key) else None
            if record is not None:
                yield record

    # Files of an artifact.

    def read_bytes(
        self,
        kind: str,
        key: str,
        name: str,
        *,
        verify: bool = True,
        record: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the content of a file.

        Args:
            kind: "state", "ticket" or "evaluation".
            key: Of the artifact.
            name: As given to `finish`.
            verify: Compare with the digest in the record.
            record: Of the artifact, where it was read already.

        Raises:
            StorageError: If it is not there, or not what the record says: then the artifact is
                set aside.
        """
        path = file_path(kind, key, name)
        expected = self._expected(kind, key, name, record) if verify else None
        content = self._files.read(path)
        if expected is not None:
            found = None if content is None else digest_of(content)
            self._check(kind, key, name, expected, found)
        if content is None:
            raise StorageError(f"{self._files.location(path)}: no such file")
        return content

    def open_file(self, kind: str, key: str, name: str, *, verify: bool = True) -> BinaryIO:
        """Open a file for reading, as `read_bytes` does but without holding it in memory."""
        path = file_path(kind, key, name)
        if verify:
            expected = self._expected(kind, key, name)
            self._check(kind, key, name, expected, self._files.digest(path))
        return self._files.open(path)

    def read_ticket(self, key: str) -> bytes:
        """Return the content of a ticket's file, verified."""
        return self.read_bytes("ticket", key, TICKET)

    def _expected(
        self, kind: str, key: str, name: str, record: Mapping[str, Any] | None = None
    ) -> Digest:
        record = record or self.record(kind, key)
        if record is None:
            raise StorageError(f"{self.root}: no {kind} {key}")
        if name not in record["files"]:
            raise StorageError(f"{self.root}: {kind} {key} ({record['status']}) has no file {name}")
        digest: Digest = record["files"][name]
        return digest

    def _check(
        self, kind: str, key: str, name: str, expected: Digest, found: Digest | None
    ) -> None:
        if found == expected:
            return
        what = "is missing" if found is None else "is not what its record says"
        location = self._files.location(file_path(kind, key, name))
        # The record goes first: without it the artifact does not count, whatever happens next.
        self._files.set_aside(record_path(kind, key), f"{name} {what}")
        self._files.set_aside(body_path(kind, key), f"{name} {what}")
        raise StorageError(f"{location}: {kind} {key} was set aside, for {name} {what}")

    # Lines that grow while an artifact is made.

    def read_lines(self, kind: str, key: str, name: str) -> list[str]:
        """Return the whole lines of a file; none if it is not there."""
        content = self._files.read(file_path(kind, key, name)) or b""
        return content[: content.rfind(b"\n") + 1].decode(errors="replace").split("\n")[:-1]

    def write_lines(self, kind: str, key: str, name: str, lines: Sequence[str]) -> None:
        """Write a file of lines anew."""
        self._files.write(file_path(kind, key, name), _joined(lines))

    def append_lines(self, kind: str, key: str, name: str, lines: Sequence[str]) -> None:
        """Add lines to a file; an object store writes it anew."""
        self._files.append(file_path(kind, key, name), _joined(lines))

    def checkpoints(self, key: str) -> CheckpointFiles:
        """Return where a state under way has its checkpoints."""
        return CheckpointFiles(self._files, f"{body_path('state', key)}/checkpoints")


def _joined(lines: Sequence[str]) -> bytes:
    if any("\n" in line for line in lines):
        raise ValueError("a line must not hold a newline")
    return "".join(f"{line}\n" for line in lines).encode()
