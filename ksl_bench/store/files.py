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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, cast

import fsspec.core

from ksl_bench.errors import StorageError

_CHUNK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)


class Digest(TypedDict):
    """What a file must be."""

    sha256: str
    bytes: int


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
                digest = _digest(source)
                if isinstance(content, Path):
                    self._fs.put_file(str(content), self._at(path))
                else:
                    self._fs.pipe_file(self._at(path), content)
                return digest
            return _write_local(Path(self._at(path)), source)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None if it is not there."""
        with self._reported(path):
            try:
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
                    return _digest(source)
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
            self._fs.mv(self._at(path), self._at(aside), recursive=True)
            _logger.warning("set aside as %s: %s", self.location(aside), reason)

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
        except OSError as error:
            raise StorageError(f"{self.location(path)}: {_reason(error)}") from error


def _opened(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def digest_of(content: bytes) -> Digest:
    """Return the digest of a file's content."""
    return _digest(io.BytesIO(content))


def _digest(source: BinaryIO, copy: BinaryIO | None = None) -> Digest:
    """Read to the end, copying on the way."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _write_local(path: Path, source: BinaryIO) -> Digest:
    """Copy into a temporary file beside the target, sync it, rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are private, and colleagues on a shared folder read the store too.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as target:
            digest = _digest(source, target)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return digest


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: BaseException) -> str:
    """Return one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
