"""Checkpoints of one state, in its folder of the store.

checkpoints/step-<n>/<part>     what one worker wrote
checkpoints/step-<n>.json       the manifest: the digest of every part, written last
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ksl_bench.errors import StorageError
from ksl_bench.store.files import Files, digest_of
from ksl_bench.store.layout import NAME, named
from ksl_bench.store.local import Digest
from ksl_bench.store.records import READ, SCHEMA, is_digests, parse_object, render_object

_MANIFEST = re.compile(r"step-(\d+)\.json")
_PARTS = re.compile(r"step-(\d+)")


class CheckpointFiles:
    """Writes, finds and removes the checkpoints of one state."""

    def __init__(self, files: Files, folder: str) -> None:
        """Take where they are."""
        self._files, self._folder = files, folder

    def write_part(self, step: int, name: str, content: bytes | Path) -> Digest:
        """Write one part, which does not count before its checkpoint is closed."""
        return self._files.write(self._part(step, name), content)

    def close(self, step: int, parts: Mapping[str, Digest], *, keep: int) -> None:
        """Make a checkpoint count, then remove older ones.

        Args:
            step: After which it was taken.
            parts: By name, what `write_part` returned.
            keep: Checkpoints that stay, this one with them.
        """
        if not parts or keep < 1:
            raise ValueError(f"a checkpoint has parts, and one is kept; got keep={keep}")
        manifest = {"schema": SCHEMA, "step": step, "files": dict(parts)}
        self._files.write(self._manifest(step), render_object(manifest))
        names = self._files.names(self._folder)
        closed = sorted(one for one in _steps(names, _MANIFEST) if one <= step)
        oldest_kept = closed[-keep:][0]
        for old in sorted({*closed, *_steps(names, _PARTS)}):
            if old < oldest_kept:
                # The manifest first: parts without one never count.
                self._files.remove(self._manifest(old))
                self._files.remove(self._parts(old))

    def newest(self) -> int | None:
        """Return the newest step whose parts are as its manifest says; set broken ones aside."""
        for step in sorted(_steps(self._files.names(self._folder), _MANIFEST), reverse=True):
            parts = self._read_manifest(step)
            broken = "the manifest" if parts is None else self._broken_part(step, parts)
            if broken is None:
                return step
            self._files.set_aside(self._manifest(step), f"{broken} is broken")
            self._files.set_aside(self._parts(step), f"{broken} is broken")
        return None

    def read(self, step: int, name: str) -> bytes:
        """Return a part.

        Raises:
            StorageError: If it is not there, or not what the manifest says.
        """
        expected = self._require_manifest(step).get(name)
        path = self._part(step, name)
        content = self._files.read(path)
        if content is None or expected is None:
            raise StorageError(f"{self._files.location(path)}: no such part of a checkpoint")
        if digest_of(content) != expected:
            raise StorageError(f"{self._files.location(path)}: not what the manifest says")
        return content

    def remove(self) -> None:
        """Remove all checkpoints of the state, those set aside with them."""
        self._files.remove(self._folder)

    def _parts(self, step: int) -> str:
        return f"{self._folder}/step-{step}"

    def _part(self, step: int, name: str) -> str:
        return f"{self._parts(step)}/{named(name)}"

    def _manifest(self, step: int) -> str:
        return f"{self._folder}/step-{step}.json"

    def _read_manifest(self, step: int) -> dict[str, Digest] | None:
        manifest = parse_object(self._files.read(self._manifest(step)) or b"")
        if manifest is None or manifest.get("schema") not in READ or manifest.get("step") != step:
            return None
        parts: dict[str, Digest] = manifest.get("files", {})
        whole = parts and is_digests(parts) and all(map(NAME.fullmatch, parts))
        return parts if whole else None

    def _require_manifest(self, step: int) -> dict[str, Digest]:
        parts = self._read_manifest(step)
        if parts is None:
            raise StorageError(f"{self._files.location(self._manifest(step))}: no whole checkpoint")
        return parts

    def _broken_part(self, step: int, parts: Mapping[str, Digest]) -> str | None:
        for name, expected in parts.items():
            if self._files.digest(self._part(step, name)) != expected:
                return name
        return None


def _steps(names: list[str], pattern: re.Pattern[str]) -> set[int]:
    return {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
