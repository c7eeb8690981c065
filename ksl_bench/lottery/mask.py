"""A mask: single entries of many weights of one base model, as one safetensors file.

The file is built as a ticket's is (`ticket_file.py`): a JSON header that says of which base and found how,
and for each weight the kept places. Four bytes an entry, or eight where a weight has more than 2^31.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket import STRICT, Ticket, first_problem
from ksl_bench.lottery.ticket_file import SCHEMA, decode, encode

KIND = "mask"
LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Header:
    """What the JSON in a mask's file must be."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: Literal[1]
    kind: Literal["mask"]
    base_model: str
    revision: str | None
    base_digest: str
    tensor: str
    criterion: str
    sparsity: float
    entries: int
    of: int
    source_state: str | None
    shapes: list[tuple[str, list[int]]]
    """Pairs rather than an object, whose keys a file has in the order of the alphabet."""


HEADER: TypeAdapter[Header] = TypeAdapter(Header)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mask:
    """Kept entries, and where they come from."""

    base_model: str
    revision: str | None
    base_digest: str
    """SHA-256 of the `matrix_digest` of each of these weights of the base, in order, with blanks between."""
    tensor: str
    """Which weights: `layers`."""
    criterion: str
    sparsity: float
    """Share of all entries of these weights that stays as it is."""
    source_state: str | None
    """Key of the tuned state it was found in."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of all weights it was picked from, in the order of the model."""
    places: Mapping[str, Tensor]
    """By weight the kept places in it, flat, int64, rising; weights without any are left out."""

    def __post_init__(self) -> None:
        """Check that every place lies in a weight that is there, and none is named twice.

        Raises:
            TicketError: If not.
        """
        for name, places in self.places.items():
            shape = self.shapes.get(name)
            if shape is None:
                raise TicketError(f"a mask names entries of {name!r}, which is none of its weights")
            rising = len(places) > 0 and bool((places[1:] > places[:-1]).all())
            if not rising or int(places[0]) < 0 or int(places[-1]) >= torch.Size(shape).numel():
                raise TicketError(f"a mask's places in {name} must rise and lie in shape {shape}")
        if not self.places:
            raise TicketError("a mask must keep at least one entry")

    @property
    def entries(self) -> int:
        """Return how many entries it keeps."""
        return sum(map(len, self.places.values()))

    def header(self) -> dict[str, Any]:
        """Return what the file's header says, without its digest."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        del own["places"]
        return {
            **own,
            "schema": SCHEMA,
            "kind": KIND,
            "shapes": [[name, list(shape)] for name, shape in self.shapes.items()],
            "entries": self.entries,
            "of": sum(torch.Size(shape).numel() for shape in self.shapes.values()),
        }

    def to_bytes(self) -> bytes:
        """Return the content of the mask's file."""
        small = all(torch.Size(one).numel() <= LARGEST_INT32 for one in self.shapes.values())
        kind = torch.int32 if small else torch.int64
        return encode(self.header(), {name: one.to(kind) for name, one in self.places.items()})

    def check_base(self, base_digest: str) -> None:
        """Check that a model is the one that the mask is for.

        Raises:
            TicketError: If its weights are others.
        """
        if base_digest != self.base_digest:
            raise TicketError(
                f"the mask is for the {self.tensor} of {self.base_model!r} (digest {self.base_digest[:12]}), "
                f"this model has others ({base_digest[:12]})"
            )


AnyTicket = Ticket | Mask
"""What a criterion picked: rows of one matrix, or single entries of many."""


def read_selection(data: bytes, *, name: str = "ticket") -> AnyTicket:
    """Read the content of a ticket's file, whichever it is.

    Raises:
        TicketError: If it is damaged, or was changed by hand.
    """
    text, tensors = decode(data, name=name)
    if json.loads(text).get("kind") != KIND:
        return Ticket.from_bytes(data, name=name)
    try:
        found = dict(vars(HEADER.validate_json(text)))
    except ValidationError as error:
        raise TicketError(f"{name}: its header is not a mask's: {first_problem(error)}") from None
    counted = {key: found.pop(key) for key in ("schema", "kind", "entries", "of")}
    if any(one.dtype not in (torch.int32, torch.int64) for one in tensors.values()):
        raise TicketError(f"{name}: holds more than places")
    shapes = {at: tuple(shape) for at, shape in found.pop("shapes")}
    places = {at: tensors[at].long() for at in shapes if at in tensors}
    if len(places) != len(tensors):
        raise TicketError(f"{name}: its header and its tensors name different weights")
    mask = Mask(**found, shapes=shapes, places=places)
    if (mask.entries, mask.header()["of"]) != (counted["entries"], counted["of"]):
        raise TicketError(f"{name}: its header counts other entries than it holds")
    return mask
