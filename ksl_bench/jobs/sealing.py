"""Secrets on their way to a job.

Whoever may look at a cluster's dashboard sees the environment variables of its jobs. A secret one is
therefore sealed with the token that both sides have and the dashboard does not show.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ksl_bench.auth import UNSEALED, ray_token
from ksl_bench.errors import ClusterError

SEALED = "KSL_BENCH_SEALED"
"""The variable that holds what is sealed."""

SALT_BYTES = 16


def seal(values: Mapping[str, str], token: str) -> str:
    """Return variables as a text that only a holder of the token can read."""
    salt = os.urandom(SALT_BYTES)
    sealed = Fernet(_key(token, salt)).encrypt(json.dumps(dict(values)).encode())
    return base64.urlsafe_b64encode(salt).decode() + sealed.decode()


def unseal(text: str, token: str) -> dict[str, str]:
    """Return what was sealed.

    Raises:
        ClusterError: If it was sealed with another token, or changed on the way.
    """
    length = len(base64.urlsafe_b64encode(bytes(SALT_BYTES)))
    try:
        salt = base64.urlsafe_b64decode(text[:length])
        opened = Fernet(_key(token, salt)).decrypt(text[length:].encode())
    except (InvalidToken, ValueError):
        raise ClusterError(
            f"{SEALED}: sealed with another token than the cluster has, or broken"
        ) from None
    values: dict[str, str] = json.loads(opened)
    return values


def unseal_environment() -> None:
    """Put what a submission sealed for this process into its environment, and note the names.

    Raises:
        ClusterError: If it cannot be read here.
    """
    text = os.environ.pop(SEALED, None)
    if text is None:
        return
    token = ray_token()
    if token is None:
        raise ClusterError(f"{SEALED}: sealed with the cluster's token, but there is none here")
    values = unseal(text, token)
    os.environ.update(values)
    os.environ[UNSEALED] = ",".join(values)


def _key(token: str, salt: bytes) -> bytes:
    derived = HKDF(SHA256(), length=32, salt=salt, info=b"ksl-bench job environment")
    return base64.urlsafe_b64encode(derived.derive(token.encode()))
