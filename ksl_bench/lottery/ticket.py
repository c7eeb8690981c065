"""A ticket: selected rows of one matrix of one base model, as one safetensors file.

The header (safetensors metadata, JSON) says which rows, of which base, found how; the tensors are the row
ids and, if the ticket carries them, the rows' values. A ticket of 18 rows is a file of kilobytes.

Shapes: V vocabulary, D model width, K rows of the ticket.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.criteria import Selection

SCHEMA = 1


def matrix_digest(matrix: Tensor) -> str:
    """Return the SHA-256 of a matrix: its shape and its float32 values, little-endian."""
    digest = hashlib.sha256(json.dumps(list(matrix.shape)).encode())
    digest.update(matrix.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class TicketRow:
    """One selected row."""

    token_id: int
    token: str
    D: float | None
    """KS distance between before and after; None where nothing was tuned."""
    p: float | None
    """Exact p-value. Before and after are paired, so it ranks rows and tests nothing."""
    l2: float | None
    """Length of the row's change."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ticket:
    """Selected rows, where they come from, and perhaps their values."""

    base_model: str
    revision: str | None
    base_digest: str
    """`matrix_digest` of the base matrix."""
    tokenizer_digest: str | None
    tensor: str
    """Which matrix: `input_embedding`."""
    criterion: str
    alpha: float | None
    k: int
    source_state: str | None
    """Key of the tuned state it was found in."""
    values: Literal["none", "transferred", "trained"]
    """What `row_values` are: absent, the tuned matrix's rows, or rows trained for this ticket."""
    rows: tuple[TicketRow, ...]
    """Best first."""
    row_values: Tensor | None = None
    """float32, shape (K, D)."""

    def __post_init__(self) -> None:
        """Check that the parts agree.

        Raises:
            TicketError: If they do not.
        """
        ids = self.token_ids
        if len(ids) != self.k or len(set(ids)) != len(ids) or any(one < 0 for one in ids):
            raise TicketError(f"a ticket of k={self.k} must name as many distinct rows, got {ids}")
        if (self.values == "none") != (self.row_values is None):
            raise TicketError(f"a ticket with values: {self.values} must match what it carries")
        if self.row_values is not None and len(self.row_values) != self.k:
            raise TicketError(f"a ticket of k={self.k} carries {len(self.row_values)} rows")

    @property
    def token_ids(self) -> list[int]:
        """Return the row ids, best first."""
        return [row.token_id for row in self.rows]

    def header(self) -> dict[str, Any]:
        """Return what the file's header says, without its digest."""
        return {
            "schema": SCHEMA,
            "base_model": self.base_model,
            "revision": self.revision,
            "base_digest": self.base_digest,
            "tokenizer_digest": self.tokenizer_digest,
            "tensor": self.tensor,
            "criterion": self.criterion,
            "alpha": self.alpha,
            "k": self.k,
            "source_state": self.source_state,
            "values": self.values,
            "rows": [asdict(row) for row in self.rows],
        }

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"token_ids": torch.tensor(self.token_ids, dtype=torch.int64)}
        if self.row_values is not None:
            tensors["values"] = self.row_values.to("cpu", torch.float32).contiguous()
        return tensors

    def to_bytes(self) -> bytes:
        """Return the content of the ticket's file."""
        header = json.dumps(self.header(), sort_keys=True)
        tensors = self._tensors()
        data: bytes = save(tensors, metadata={"ticket": header, "digest": _digest(header, tensors)})
        return data

    def save(self, path: Path) -> None:
        """Write the ticket's file."""
        path.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Ticket:
        """Read a ticket's file.

        Raises:
            TicketError: If it cannot be read, is damaged, or was changed by hand.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TicketError(f"{path}: cannot be read: {error.strerror}") from None
        return cls.from_bytes(data, name=str(path))

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "ticket") -> Ticket:
        """Read the content of a ticket's file.

        Raises:
            TicketError: If it is damaged, or was changed by hand.
        """
        try:
            tensors = load(data)
            metadata = _metadata(data)
            header = json.loads(metadata["ticket"])
        except (SafetensorError, KeyError, ValueError) as error:
            raise TicketError(f"{name}: not a whole ticket file: {error}") from None
        if header.get("schema") != SCHEMA:
            raise TicketError(f"{name}: schema {header.get('schema')}; this version reads {SCHEMA}")
        if metadata.get("digest") != _digest(metadata["ticket"], tensors):
            raise TicketError(f"{name}: its content is not what its digest says")
        fields = {field: value for field, value in header.items() if field != "schema"}
        try:
            rows = tuple(TicketRow(**row) for row in fields.pop("rows"))
            ticket = cls(**fields, rows=rows, row_values=tensors.get("values"))
        except (TypeError, KeyError) as error:
            raise TicketError(f"{name}: its header is not a ticket's: {error}") from None
        if tensors.get("token_ids", torch.empty(0)).tolist() != ticket.token_ids:
            raise TicketError(f"{name}: its header and its tensors name different rows")
        return ticket

    def check_base(self, *, base_digest: str, tokenizer_digest: str | None) -> None:
        """Check that a model is the one that the ticket is for.

        Raises:
            TicketError: If matrix or tokenizer are others; names both.
        """
        if base_digest != self.base_digest:
            raise TicketError(
                f"the ticket is for the {self.tensor} of {self.base_model!r} ({self.base_digest[:12]}), "
                f"this model has {base_digest[:12]}"
            )
        if None not in (tokenizer_digest, self.tokenizer_digest) and (
            tokenizer_digest != self.tokenizer_digest
        ):
            raise TicketError(
                f"the ticket is for the tokenizer of {self.base_model!r} "
                f"({str(self.tokenizer_digest)[:12]}), this one is {str(tokenizer_digest)[:12]}"
            )


def rows_of(
    selection: Selection, tokens: Callable[[Sequence[int]], Sequence[str]]
) -> tuple[TicketRow, ...]:
    """Return a selection as rows, with the tokens' text."""
    count = len(selection.token_ids)
    empty: list[float | None] = [None] * count
    return tuple(
        TicketRow(token_id=one, token=token, D=distance, p=p, l2=l2)
        for one, token, distance, p, l2 in zip(
            selection.token_ids,
            tokens(selection.token_ids),
            selection.distances or empty,
            selection.p_values or empty,
            selection.l2 or empty,
            strict=True,
        )
    )


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file in memory: a length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return metadata


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
