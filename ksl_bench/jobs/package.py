"""The files that go with a job: suites, recipes and small data beside them, never results or models."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ksl_bench.errors import ConfigError

EXCLUDED = (
    ".*",
    "__pycache__",
    "*.egg-info",
    "*.bin",
    "*.ckpt",
    "*.gguf",
    "*.pt",
    "*.pth",
    "*.safetensors",
    "build",
    "dist",
    "ksl-results",
    "mlartifacts",
    "mlruns",
    "node_modules",
    "venv",
    "wandb",
)
"""Names of files and folders that stay behind: caches, environments, results, weights."""

LIMIT_BYTES = 100 * 2**20
"""Ray takes no larger package."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every packed file: the same files are the same package, which a cluster has already."""


def write_package(folder: Path, target: Path, *, exclude: Sequence[str] = ()) -> int:
    """Pack a folder.

    Of a git work tree, what git ignores stays behind as well.

    Args:
        folder: What the job's working directory is to hold.
        target: The zip file to write.
        exclude: Further names or relative paths that stay behind; `*` and `?` as in a shell.

    Returns:
        The number of files.

    Raises:
        ConfigError: If it is no folder, more than Ray takes, or a work tree of which git does not tell
            what it ignores.
    """
    if not folder.is_dir():
        raise ConfigError(f"--working-dir: no such folder: {folder}")
    count, total = 0, 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in _chosen(folder, (*EXCLUDED, *exclude)):
            total += path.stat().st_size
            if total > LIMIT_BYTES:
                raise ConfigError(
                    f"--working-dir: {folder} holds more than {LIMIT_BYTES // 2**20} MiB (at "
                    f"{path.relative_to(folder)}); --exclude what the job does not read, or name a "
                    "smaller folder"
                )
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            info.external_attr = 0o644 << 16
            package.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
            count += 1
    return count


def _chosen(folder: Path, excluded: Sequence[str]) -> Iterator[Path]:
    """Yield the files that go along, by path; a link goes along only if it stays inside."""
    whole = folder.resolve()
    known = _of_git(folder)
    for path in _walked(folder, excluded) if known is None else known:
        parts = path.relative_to(folder)
        if _is_excluded(parts, excluded) or not path.is_file():
            continue
        if path.resolve().is_relative_to(whole):
            yield path


def _of_git(folder: Path) -> list[Path] | None:
    """Return what git knows or does not ignore; None where there is no work tree.

    Raises:
        ConfigError: If git cannot tell: what it ignores may be secret, and must not go along for that.
    """
    command = ["git", "-C", str(folder), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        asked = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        failed = f"git cannot be run here: {error.strerror}"
    else:
        if asked.returncode == 0:
            names = {os.fsdecode(name) for name in asked.stdout.split(b"\0") if name}
            return sorted(folder / name for name in names)
        failed = os.fsdecode(asked.stderr).strip().partition("\n")[0]
    whole = folder.resolve()
    if not any((place / ".git").exists() for place in (whole, *whole.parents)):
        return None
    raise ConfigError(
        f"--working-dir: {folder} is in a git work tree, but git does not tell what it ignores there: "
        f"{failed}"
    )


def _walked(folder: Path, excluded: Sequence[str]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not _is_excluded((here / name).relative_to(folder), excluded)
        )
        yield from (here / name for name in sorted(files))


def _is_excluded(path: Path, excluded: Sequence[str]) -> bool:
    wholes = [path, *path.parents]
    return any(
        fnmatch.fnmatch(one.name, pattern) or fnmatch.fnmatch(one.as_posix(), pattern)
        for pattern in excluded
        for one in wholes
        if one.name
    )
