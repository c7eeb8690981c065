"""Files of this machine, or of a file system that it mounts: written whole, or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypedDict

_CHUNK_BYTES = 1 << 20


class Digest(TypedDict):
    """What a file must be."""

    sha256: str
    bytes: int


def copy_and_digest(source: BinaryIO, copy: BinaryIO | None = None) -> Digest:
    """Read to the end, copying on the way."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


def write_local(path: Path, source: BinaryIO) -> Digest:
    """Copy into a temporary file beside the target, sync it, rename it."""
    with _beside(path) as temporary:
        with temporary.open("xb") as target:
            digest = copy_and_digest(source, target)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, path)
    _sync_folder(path.parent)
    return digest


def create_local(path: Path, content: bytes) -> bool:
    """Write a file unless it is there; of several that try at once, one succeeds.

    A hard link to a whole file: atomic on NFS, too, and nobody ever reads half of it. Not synced: what is
    created this way (a lease) means nothing after a power cut.
    """
    with _beside(path) as temporary:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: atomic, but for a moment empty
            return _create_empty(path, content)
    return True


def _create_empty(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Return a path for a temporary file beside a target; what is left of it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are private, and colleagues on a shared folder read the store too.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
