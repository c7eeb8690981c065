"""Results that are read together, in one file: an index for object stores, where every request costs.

    <root>/bundles/<digest of the keys>.zip     records and resamples of a condition's evaluations, by path

A bundle is written by the first who reads them all after the last was finished. It holds copies, and
nothing keeps them up to date: a finished result stays what it is under its key. Records are sealed and
their files compared with the digests in them, as anywhere else. A bundle may be removed at any time;
whoever removes results by hand removes the bundles, too. A folder of this machine has none: there they
would save next to nothing.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ksl_bench.errors import StorageError
from ksl_bench.store.artifacts import Store, key_of
from ksl_bench.store.files import Files
from ksl_bench.store.layout import bundle_path

Rows = Sequence[Mapping[str, Any]]


def read_together(rows: Iterable[Mapping[str, Any]]) -> dict[str, Rows]:
    """Return the rows of a plan by the condition that they were scored under: those are compared."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["scored_under"], []).append(row)
    return dict(found)


def bundle_of(rows: Rows) -> str:
    """Return where the bundle of some rows' evaluations is."""
    return bundle_path(key_of({"evaluations": sorted({row["evaluation"] for row in rows})}))


class Bundle:
    """The evaluations of some rows."""

    def __init__(self, store: Store, rows: Rows) -> None:
        """Read the bundle, if there is one."""
        self._through = None if store.files.local else _Through(store.files, bundle_of(rows))
        self.store = Store(self._through) if self._through else store
        """To read from: takes from the bundle what is in it, and remembers what is not."""

    def keep(self) -> None:
        """Write all that was read; only for what will not change any more.

        Where nothing can be written, all is read the long way again.
        """
        if self._through is not None:
            with contextlib.suppress(StorageError):
                self._through.keep()


class _Through(Files):
    """Files of which a bundle may have some; others are remembered when they were read."""

    def __init__(self, files: Files, bundle: str) -> None:
        super().__init__(files.root)
        self._bundle = bundle
        self._held = _unpacked(files, bundle)
        self._copies = frozenset(self._held)

    def read(self, path: str) -> bytes | None:
        content = self._held.get(path)
        if content is None and (content := super().read(path)) is not None:
            self._held[path] = content
        return content

    def set_aside(self, path: str, reason: str) -> None:
        """Blame the bundle, if there is one: where its copies are from, all may be well."""
        super().set_aside(self._bundle if self._copies else path, reason)

    def keep(self) -> None:
        """Write the bundle, if it had not all of it."""
        if self._held.keys() - self._copies:
            self.write(self._bundle, _packed(self._held))


def _packed(held: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(held.items()):
            archive.writestr(path, content)
    return buffer.getvalue()


def _unpacked(files: Files, path: str) -> dict[str, bytes]:
    """Return what a bundle holds; a broken one is set aside, and then holds nothing.

    Names in it are looked up, never written to.
    """
    content = files.read(path)
    if content is None:
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception as error:  # zipfile says in many ways that a file is none
        files.set_aside(path, f"not a whole bundle: {error}")
        return {}
