"""New folders, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from ksl_bench.errors import TicketError


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give a folder to write into, that takes its name only when all is written.

    Args:
        output: Its name; what is there already must be an empty folder.

    Raises:
        TicketError: If something is in the way, or it cannot be written.
    """
    check_free(output)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as hidden:
            folder = Path(hidden, output.name)
            folder.mkdir()
            yield folder
            os.replace(folder, output)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TicketError(f"output: {output} cannot be written: {reason}") from None


def check_free(output: Path) -> None:
    """Check that nothing would be overwritten, and that there is a folder to write in.

    Raises:
        TicketError: If the output exists and is no empty folder, or is in a folder that is not there.
    """
    empty_folder = output.is_dir() and not any(output.iterdir())
    if (output.exists() or output.is_symlink()) and not empty_folder:
        raise TicketError(f"output: {output} exists and is not overwritten")
    if not output.parent.is_dir():
        raise TicketError(f"output: no such folder: {output.parent}")
