"""Results that are read together, in one file: an index for object stores, where every request costs.

    <root>/bundles/<digest of the keys>.zip     records and resamples of a condition's evaluations, by path

A bundle is written by the first who reads them all after the last was finished. Its copies are checked as
their originals are: records are sealed, and name the digests of their files. A result that is made anew
under its key may differ in costs, so whoever makes results of a condition removes its bundle first; of
another plan that shares them the bundle stays. A bundle may be removed at any time, and whoever removes
results by hand removes the bundles, too. A folder of this machine has none: there they would save next to
nothing.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Container, Iterable, Mapping, Sequence
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


def forget_bundles(
    store: Store, rows: Iterable[Mapping[str, Any]], making: Container[str] | None = None
) -> None:
    """Remove the bundles of a plan's rows in which something is to be made, perhaps anew.

    Args:
        store: Where they are.
        rows: Of the plan.
        making: Keys of evaluations that are to be made; None: any of them.
    """
    for together in read_together(rows).values():
        if making is None or any(row["evaluation"] in making for row in together):
            store.files.remove(bundle_of(together))


class Bundle:
    """The evaluations of some rows, all of them finished."""

    def __init__(self, store: Store, rows: Rows) -> None:
        """Read the bundle, if there is one."""
        self._through = None if store.files.local else _Through(store.files, bundle_of(rows))
        self.store = Store(self._through) if self._through else store
        """To read from: takes from the bundle what is in it, and remembers what is not."""

    @property
    def used(self) -> bool:
        """Return whether there is one: then all that it is of must be finished, or it is broken."""
        return self._through is not None and bool(self._through.copies)

    def keep(self) -> None:
        """Write all that was read; only of finished results.

        Where nothing can be written, all is read the long way again.
        """
        if self._through is not None:
            with contextlib.suppress(StorageError):
                self._through.keep()

    def drop(self) -> None:
        """Set the bundle aside."""
        if self._through is not None:
            _drop(self._through, self._through.bundle, "a copy in it is broken")


class _Through(Files):
    """Files of which a bundle may have some; others are remembered when they were read."""

    def __init__(self, files: Files, bundle: str) -> None:
        super().__init__(files.root)
        self.bundle = bundle
        self._held = _unpacked(files, bundle)
        self.copies = frozenset(self._held)

    def read(self, path: str) -> bytes | None:
        content = self._held.get(path)
        if content is None and (content := super().read(path)) is not None:
            self._held[path] = content
        return content

    def set_aside(self, path: str, reason: str) -> None:
        """Leave the originals alone where a copy is broken: all may be well there."""
        if not self.copies or path == self.bundle:
            super().set_aside(path, reason)

    def keep(self) -> None:
        """Write the bundle, if it had not all of it."""
        if self._held.keys() - self.copies:
            self.write(self.bundle, _packed(self._held))


def _packed(held: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(held.items()):
            archive.writestr(zipfile.ZipInfo(path), content)  # without the time: the same again
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
    except MemoryError:
        raise
    except Exception as error:  # zipfile says in many ways that a file is none
        _drop(files, path, f"not a whole bundle: {error}")
        return {}


def _drop(files: Files, path: str, reason: str) -> None:
    with contextlib.suppress(StorageError):  # who may only read goes on without it
        files.set_aside(path, reason)
