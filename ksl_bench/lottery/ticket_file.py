"""The file of a ticket: one safetensors file whose metadata holds a JSON header and a digest of it all.

Here a header is any JSON object and the tensors are any: what they mean is `ticket.py`'s. The digest tells
damage and careless edits; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ksl_bench.errors import TicketError

SCHEMA = 1

MAX_HEADER_BYTES = 64 * 2**20
"""Bound of the JSON header; the rows of a vocabulary of 260,000 take 40 MB."""

# RecursionError is JSON nested too deeply, RuntimeError a tensor type that has no bytes to digest.
UNREADABLE = (SafetensorError, KeyError, ValueError, TypeError, RecursionError, RuntimeError)


def encode(header: Mapping[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """Return the content of a ticket's file.

    Args:
        header: Becomes JSON with sorted keys, so that one ticket has one digest.
        tensors: On the CPU, contiguous.

    Raises:
        TicketError: If a number is not finite, a text no Unicode, or the header too long.
    """
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False, ensure_ascii=False)
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise TicketError(f"a ticket's text must be Unicode: {_line(error)}") from None
    except ValueError:
        raise TicketError("a ticket's alpha, D, p and l2 must be finite numbers") from None
    if length > MAX_HEADER_BYTES:
        raise TicketError(f"a header of {length} bytes is more than {MAX_HEADER_BYTES}")
    data: bytes = save(tensors, metadata={"ticket": text, "digest": _digest(text, tensors)})
    return _in_fixed_order(data)


def _in_fixed_order(data: bytes) -> bytes:
    """Sort a safetensors file's own header: the library writes metadata in an order of chance.

    The positions of tensors in it count from its end, so they hold for a header of any length.
    """
    length = int.from_bytes(data[:8], "little")
    own = json.loads(data[8 : 8 + length])
    text = json.dumps(own, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at multiples of eight bytes
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def decode(data: bytes, *, name: str) -> tuple[str, dict[str, Tensor]]:
    """Read the content of a ticket's file.

    Args:
        data: The file's bytes.
        name: What to call it in a message.

    Returns:
        The JSON of its header, of this schema, and its tensors.

    Raises:
        TicketError: If it is damaged, was changed, or has another schema.
    """
    try:
        tensors: dict[str, Tensor] = load(data)
        metadata = _metadata(data)
        text = metadata["ticket"]
        schema = _schema(text)
        digest = _digest(text, tensors)
    except UNREADABLE as error:
        raise TicketError(f"{name}: not a whole ticket file: {_line(error)}") from None
    if schema != SCHEMA:
        raise TicketError(f"{name}: schema {str(schema)[:20]}; this version reads {SCHEMA}")
    if metadata.get("digest") != digest:
        raise TicketError(f"{name}: its content is not what its digest says")
    return text, tensors


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file in memory: a length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return metadata


def _schema(text: str) -> object:
    """Return the schema that a header claims, before anything else in it is believed."""
    if (length := len(text.encode())) > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes is more than {MAX_HEADER_BYTES}")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    return header.get("schema")


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    """Return an error's text on one line of bounded length; a missing key by its name."""
    text = f"no {error} in it" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())[:200]
