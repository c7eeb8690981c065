"""Files under one root: a folder, or an object-store URI. What the store is built on.

A write is whole or not there: in a folder a temporary file beside the target that is synced and
then renamed, in an object store one put. Paths are relative to the root, with "/" between parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
import fsspec.core

from ksl_bench.errors import StorageError
from ksl_bench.store.listing import Entry, entry_of
from ksl_bench.store.local import Digest, copy_and_digest, create_local, write_local

_logger = logging.getLogger(__name__)

_Thing = TypeVar("_Thing")
_Read = TypeVar("_Read")

_REQUESTS = 64
"""To an object store at once: each takes its time."""
_AHEAD = 4 * _REQUESTS
"""Of so many things at most, what was read is held in memory before it is asked for."""


class Files:
    """Reads and writes whole files under a root."""

    def __init__(self, root: str) -> None:
        """Take a folder, which need not exist, or a URI of fsspec.

        Raises:
            StorageError: If nothing is installed that reads such a URI.
        """
        if "://" not in root:
            root = os.path.abspath(os.path.expanduser(root))
        try:
            # Other processes write too: a cached listing would hide what they finished.
            fs, base = fsspec.core.url_to_fs(root, use_listings_cache=False)
        except (ValueError, ImportError, OSError) as error:
            raise StorageError(f"{root}: cannot be opened: {_reason(error)}") from error
        self._fs: Any = fs
        self._base = str(base).rstrip("/")
        self.local = "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)
        self.root = self._base if self.local else root.rstrip("/")

    def location(self, path: str) -> str:
        """Return where a file is, as a path or a URI."""
        return f"{self.root}/{path}"

    def write(self, path: str, content: bytes | Path) -> Digest:
        """Write a file, from memory or from a file of this machine, and return its digest."""
        with self._reported(path), _opened(content) as source:
            if not self.local:
                digest = copy_and_digest(source)
                if isinstance(content, Path):
                    self._fs.put_file(str(content), self._at(path))
                else:
                    self._fs.pipe_file(self._at(path), content)
                return digest
            return write_local(Path(self._at(path)), source)

    def create(self, path: str, content: bytes) -> bool:
        """Write a file unless it is there, and return whether it was written.

        Of several that try at once, one succeeds, where `creates_atomically`.
        """
        with self._reported(path):
            if self.local:
                return create_local(Path(self._at(path)), content)
            try:
                self._fs.pipe_file(self._at(path), content, mode="create")
            except FileExistsError:
                return False
            except OSError:
                # Not every server says which condition was not met.
                if self._fs.exists(self._at(path)):
                    return False
                raise
            return True

    def creates_atomically(self) -> bool:
        """Return whether `create` can be relied on here; tries it with a file that does not stay."""
        if self.local:
            return True
        if (
            not self._fs.async_impl
            and type(self._fs).pipe_file is fsspec.AbstractFileSystem.pipe_file
        ):
            return False  # looks, then writes
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            return self.create(probe, b"1") and not self.create(probe, b"2")
        finally:
            self.remove(probe)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None if it is not there."""
        with self._reported(path):
            try:
                if self.local:  # a leaderboard reads thousands of small ones
                    with open(self._at(path), "rb") as file:
                        return file.read()
                return cast(bytes, self._fs.cat_file(self._at(path)))
            except FileNotFoundError:
                return None

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        with self._reported(path):
            return cast(BinaryIO, self._fs.open(self._at(path), "rb"))

    def digest(self, path: str) -> Digest | None:
        """Return what a file is, None if it is not there."""
        with self._reported(path):
            try:
                with self._fs.open(self._at(path), "rb") as source:
                    return copy_and_digest(source)
            except FileNotFoundError:
                return None

    def append(self, path: str, content: bytes) -> None:
        """Add to a file of whole lines; a last line that was cut short is dropped first."""
        if self.local and self._ends_a_line(path):
            with self._reported(path), open(self._at(path), "ab") as file:
                file.write(content)
            return
        before = self.read(path) or b""
        self.write(path, before[: before.rfind(b"\n") + 1] + content)

    def names(self, folder: str) -> list[str]:
        """Return what a folder holds, sorted; nothing if it is not there."""
        with self._reported(folder):
            try:
                paths = self._fs.ls(self._at(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def side_by_side(
        self, read: Callable[[_Thing], _Read], things: Iterable[_Thing]
    ) -> Iterator[_Read]:
        """Yield what is read of each thing, in their order; from an object store many at once."""
        if self.local:
            yield from map(read, things)
            return
        waiting = iter(things)
        with ThreadPoolExecutor(_REQUESTS) as threads:
            while some := list(islice(waiting, _AHEAD)):  # not all: what is read takes memory
                yield from threads.map(read, some)

    def listing(self) -> list[Entry]:
        """Return every file below the root, by path."""
        with self._reported(""):
            try:
                found = self._fs.find(self._base, detail=True)
            except FileNotFoundError:
                return []
        start = len(self._base) + 1
        return [entry_of(str(path)[start:], info) for path, info in sorted(found.items())]

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all in it; fine if it is not there."""
        with self._reported(path), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._at(path), recursive=True)

    def set_aside(self, path: str, reason: str) -> None:
        """Rename a file or a folder to `PATH.corrupt-N`, and warn.

        Fine if it is not there: another process was first.
        """
        folder, _, name = path.rpartition("/")
        taken = set(self.names(folder))
        if name not in taken:
            return
        number = 1
        while f"{name}.corrupt-{number}" in taken:
            number += 1
        aside = f"{path}.corrupt-{number}"
        with self._reported(path), contextlib.suppress(FileNotFoundError):
            self._move(self._at(path), self._at(aside))
            _logger.warning("set aside as %s: %s", self.location(aside), reason)

    def _move(self, path: str, target: str) -> None:
        if self.local:
            os.rename(path, target)
            return
        # File by file: moving a folder, as s3fs does it, fails where no object stands for the folder itself.
        for one in self._fs.find(path):
            self._fs.cp_file(one, target + str(one)[len(path) :])
            self._fs.rm_file(one)

    def check_writable(self) -> None:
        """Write and remove a file; nothing is left behind.

        Raises:
            StorageError: If that fails.
        """
        missing = self._missing_folders() if self.local else []
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"probe")
            self._fs.rm(self._at(probe))
        except Exception as error:  # clients of object stores raise their own kinds
            reason = _reason(error.__cause__ or error)  # without the name of the probe
            raise StorageError(f"{self.root}: cannot be written: {reason}") from error
        finally:
            for folder in missing:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _missing_folders(self) -> list[Path]:
        """Return the folders that a write will create, deepest first."""
        root = Path(self._base)
        return [folder for folder in (root, *root.parents) if not folder.exists()]

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _ends_a_line(self, path: str) -> bool:
        """Return whether a local file is there and ends with a newline."""
        try:
            with self._reported(path), open(self._at(path), "rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) == b"\n"
        except StorageError:
            return False

    @contextlib.contextmanager
    def _reported(self, path: str) -> Iterator[None]:
        """Turn what the file system says into a StorageError that names the file."""
        try:
            yield
        except Exception as error:  # clients of object stores raise their own kinds
            if self.local and not isinstance(error, OSError):
                raise
            raise StorageError(f"{self.location(path)}: {_reason(error)}") from error


def _opened(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def digest_of(content: bytes) -> Digest:
    """Return the digest of a file's content."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _reason(error: BaseException) -> str:
    """Return one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
