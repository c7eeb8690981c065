"""The command that a job runs."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ksl_bench.auth import PASSWORD_IN_URI, is_secret, masked
from ksl_bench.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Command:
    """What a user wants to have run: a verb of the command line and its arguments, as written."""

    verb: str
    name: str
    """Of the suite or the space."""
    arguments: tuple[str, ...]
    storage: str | None
    """As given to the command, else by the environment."""


def is_here(address: str) -> bool:
    """Tell whether a cluster's head is this machine."""
    host = urlsplit(address if "://" in address else f"//{address}").hostname or "localhost"
    if host in ("localhost", "127.0.0.1", "::1", "auto"):
        return True
    try:
        mine = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
        return bool({info[4][0] for info in socket.getaddrinfo(host, None)} & mine)
    except OSError:
        return False


def entrypoint(command: Command, *, here: bool, python: str | None = None) -> str:
    """Return the shell command of a job.

    A job starts in a folder of its own, with the PATH of whoever started the cluster: neither this
    virtual environment nor a relative storage is found there, so both are spelled out.

    Args:
        command: What to run.
        here: Whether the cluster's head is this machine.
        python: The interpreter at the head; else this one where the head is here, else `python`.

    Raises:
        ConfigError: If the storage cannot be the same place for all nodes, or a secret would show.
    """
    storage = shared_storage(command.storage, here=here)
    interpreter = python or (sys.executable if here else "python")
    words = [interpreter, "-m", "ksl_bench.cli", command.verb, *command.arguments]
    if storage not in command.arguments:
        words += ["--storage", storage]
    if shown := [word for word in words if PASSWORD_IN_URI.search(word)]:
        raise ConfigError(
            f"{masked(shown[0])}: everyone who may look at the cluster would see this password; give it "
            "in a variable, with --env"
        )
    return shlex.join([*words, "--address", "auto"])


def shared_storage(storage: str | None, *, here: bool) -> str:
    """Return the storage as every node knows it.

    Raises:
        ConfigError: If it is a folder of this machine, and the cluster is another.
    """
    if storage is not None and "://" in storage:
        return storage
    if storage is not None and os.path.isabs(os.path.expanduser(storage)):
        return os.path.expanduser(storage)
    if here:
        return str(Path(storage or "ksl-results").absolute())
    raise ConfigError(
        f"--storage: must be a URI, or an absolute path that all nodes see alike, for a cluster beyond "
        f"this machine; got {storage or 'nothing'}"
    )


def split_environment(
    names: Sequence[str], environment: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables that go to the job: those that may be seen, and those that may not.

    Raises:
        ConfigError: If one is not set here.
    """
    missing = [name for name in names if name not in environment]
    if missing:
        raise ConfigError([f"--env: {name} is not set here" for name in missing])
    values = {name: environment[name] for name in names}
    secret = {name: value for name, value in values.items() if is_secret(name, value)}
    return {name: values[name] for name in values.keys() - secret.keys()}, secret
