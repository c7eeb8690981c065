"""A ticket: selected rows of one matrix of one base model, as one safetensors file.

The header (safetensors metadata, JSON) says which rows, of which base, found how; the tensors are the row
ids and, if the ticket carries them, the rows' values. A ticket of 18 rows is a file of kilobytes.

Shapes: V vocabulary, D model width, K rows of the ticket.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.selection import Selection, Tests
from ksl_bench.lottery.ticket_file import SCHEMA, decode, encode

Values = Literal["none", "transferred", "trained"]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def matrix_digest(matrix: Tensor) -> str:
    """Return the SHA-256 of a matrix: its shape and its float32 values, little-endian.

    Args:
        matrix: Any shape and floating dtype; half precision is widened, which is exact.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(list(matrix.shape)).encode())
    values = matrix.detach().to("cpu", torch.float32).contiguous().numpy()
    digest.update(values.astype("<f4", copy=False).data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class TicketRow:
    """One selected row."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    token_id: Annotated[int, Field(ge=0)]
    token: str
    """Its text in the tokenizer; empty where the matrix has more rows than the tokenizer has tokens."""
    D: Unit | None
    """KS distance between before and after; None where nothing was tuned."""
    p: Unit | None
    """Exact p-value. Before and after are paired, so it ranks rows and tests nothing."""
    l2: Annotated[float, Field(ge=0.0)] | None
    """Length of the row's change."""
    count: Annotated[int, Field(ge=0)] | None = None
    """How often it stands at an input position of the tuning text; None where no text was looked at."""
    template: bool | None = None
    """Whether it stands in the prompt outside the sentence; None where no prompt was looked at."""


@dataclass(frozen=True)
class Header:
    """What the JSON in a ticket's file must be; the fields are those of `Ticket`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: Literal[1]
    base_model: str
    revision: str | None
    base_digest: str
    tokenizer_digest: str | None
    tensor: str
    criterion: str
    alpha: Unit | None
    k: Annotated[int, Field(ge=1)]
    source_state: str | None
    values: Values
    rows: list[TicketRow]
    tests: Tests | None = None


HEADER: TypeAdapter[Header] = TypeAdapter(Header)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ticket:
    """Selected rows, where they come from, and perhaps their values."""

    base_model: str
    revision: str | None
    base_digest: str
    """`matrix_digest` of the base matrix."""
    tokenizer_digest: str | None
    tensor: str
    """Which rows: `input_embedding`, `output_head`, or a pattern of names of linear modules."""
    criterion: str
    alpha: float | None
    k: int
    source_state: str | None
    """Key of the tuned state it was found in."""
    values: Values
    """What `row_values` are: absent, the tuned matrix's rows, or rows trained for this ticket."""
    rows: tuple[TicketRow, ...]
    """Best first."""
    tests: Tests | None = None
    """What a test at alpha would reject among all rows; None where nothing was tuned."""
    row_values: Tensor | None = None
    """float32, shape (K, D)."""

    def __post_init__(self) -> None:
        """Check that the parts agree.

        Raises:
            TicketError: If they do not.
        """
        ids = self.token_ids
        if not ids or len(ids) != self.k or len(set(ids)) != len(ids) or min(ids) < 0:
            raise TicketError(
                f"a ticket of k={self.k} must name as many distinct rows, at least one, "
                f"got {len(ids)}: {str(ids)[:80]}"
            )
        if (self.values == "none") != (self.row_values is None):
            carried = "no rows" if self.row_values is None else "rows"
            raise TicketError(f"a ticket with values: {self.values} carries {carried}")
        if self.row_values is not None:
            _check_values(self.row_values, self.k)

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
            "tests": None if self.tests is None else asdict(self.tests),
            "rows": [asdict(row) for row in self.rows],
        }

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"token_ids": torch.tensor(self.token_ids, dtype=torch.int64)}
        if self.row_values is not None:
            tensors["values"] = self.row_values.detach().to("cpu", torch.float32).contiguous()
        return tensors

    def to_bytes(self) -> bytes:
        """Return the content of the ticket's file.

        Raises:
            TicketError: If a number in a row is not finite, or the rows are too many for a header.
        """
        return encode(self.header(), self._tensors())

    def save(self, path: Path) -> None:
        """Write the ticket's file, whole or not at all.

        Raises:
            TicketError: If it cannot be written.
        """
        data = self.to_bytes()
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
                whole = Path(folder, path.name)
                whole.write_bytes(data)
                os.replace(whole, path)
        except OSError as error:
            raise TicketError(f"{path}: cannot be written: {error.strerror}") from None

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

        Args:
            data: The file's bytes.
            name: What to call it in a message.

        Raises:
            TicketError: If it is damaged, or was changed by hand.
        """
        text, tensors = decode(data, name=name)
        try:
            fields = dict(vars(HEADER.validate_json(text)))
        except ValidationError as error:
            raise TicketError(
                f"{name}: its header is not a ticket's: {first_problem(error)}"
            ) from None
        return cls._joined(fields, tensors, name)

    @classmethod
    def _joined(cls, fields: dict[str, Any], tensors: dict[str, Tensor], name: str) -> Ticket:
        del fields["schema"]
        rows = tuple(fields.pop("rows"))
        row_ids = tensors.pop("token_ids", torch.empty(0))
        if row_ids.dtype != torch.int64 or row_ids.tolist() != [row.token_id for row in rows]:
            raise TicketError(f"{name}: its header and its tensors name different rows")
        values = tensors.pop("values", None)
        if tensors or (values is not None and values.dtype != torch.float32):
            raise TicketError(f"{name}: holds more than row ids and float32 values")
        try:
            return cls(**fields, rows=rows, row_values=values)
        except TicketError as error:
            raise TicketError(f"{name}: {error}") from None

    def check_base(self, *, base_digest: str, tokenizer_digest: str | None) -> None:
        """Check that a model is the one that the ticket is for.

        Args:
            base_digest: `matrix_digest` of the model's matrix.
            tokenizer_digest: Digest of its tokenizer; None where it is not known, and not compared.

        Raises:
            TicketError: If matrix or tokenizer are others; names both.
        """
        base = f"{self.base_model!r}" + (f" at {self.revision}" if self.revision else "")
        if base_digest != self.base_digest:
            raise TicketError(
                f"the ticket is for the {self.tensor} of {base} (digest {self.base_digest[:12]}), "
                f"this model has another one ({base_digest[:12]})"
            )
        if tokenizer_digest is None or self.tokenizer_digest is None:
            return
        if tokenizer_digest != self.tokenizer_digest:
            raise TicketError(
                f"the ticket is for the tokenizer of {base} (digest {self.tokenizer_digest[:12]}), "
                f"this model has another one ({tokenizer_digest[:12]})"
            )


def _check_values(row_values: Tensor, k: int) -> None:
    if row_values.ndim != 2 or len(row_values) != k:
        raise TicketError(
            f"a ticket of k={k} must carry a matrix of {k} rows, got {tuple(row_values.shape)}"
        )
    if not row_values.isfinite().all():
        raise TicketError("a ticket's rows have a value that is not finite")


def rows_of(
    selection: Selection, tokens: Callable[[Sequence[int]], Sequence[str | None]]
) -> tuple[TicketRow, ...]:
    """Return a selection as rows, with the tokens' text.

    Args:
        selection: Rows, best first.
        tokens: From ids to text, as a tokenizer's `convert_ids_to_tokens`; None where there is no token.
    """
    rows = len(selection.token_ids)
    empty: list[float | None] = [None] * rows
    empty_counts: list[int | None] = [None] * rows
    empty_flags: list[bool | None] = [None] * rows
    return tuple(
        TicketRow(
            token_id=one, token=token or "", D=distance, p=p, l2=l2, count=count, template=template
        )
        for one, token, distance, p, l2, count, template in zip(
            selection.token_ids,
            tokens(selection.token_ids),
            selection.distances or empty,
            selection.p_values or empty,
            selection.l2 or empty,
            selection.counts or empty_counts,
            selection.template or empty_flags,
            strict=True,
        )
    )


def first_problem(error: ValidationError) -> str:
    """Return what was wrong first, with its path, on one line of bounded length."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return " ".join(f"{where}: {first['msg']}".split())[:200]
