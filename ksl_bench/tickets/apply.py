"""A ticket on a model: both are checked to belong together, and the rows are pasted in.

Shapes: K rows of a ticket, D values a row.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket import Ticket, matrix_digest
from ksl_bench.methods.partial import PartialTransfer
from ksl_bench.methods.scope import find_scope
from ksl_bench.models import (
    ModelReference,
    find_named,
    load_model,
    load_tokenizer,
    tokenizer_digest,
    weights_folder,
)
from ksl_bench.tickets.folders import check_free, new_folder
from ksl_bench.training.engine import import_deepspeed


@dataclass(frozen=True, slots=True)
class Base:
    """A model that was found and loaded."""

    reference: ModelReference
    model: PreTrainedModel
    """float32, on the CPU."""
    tokenizer: PreTrainedTokenizerBase


def load_base(name: str, ticket: Ticket | None) -> Base:
    """Load a model, at the ticket's own revision if it is the one that the ticket names.

    Args:
        name: A folder, a Hugging Face id, or `tiny-base`.
        ticket: What the model is for, if anything.

    Raises:
        ModelError: If it cannot be had.
        TicketError: If the ticket is for another model or tokenizer.
    """
    own = ticket is not None and ticket.base_model == name
    revision = ticket.revision if ticket is not None and own else None
    reference = find_named(name, option="model", revision=revision)
    base = Base(reference, load_model(reference, precision="fp32"), load_tokenizer(reference))
    if ticket is not None:
        check_fits(ticket, base)
    return base


def check_fits(ticket: Ticket, base: Base) -> None:
    """Check that a ticket was made for this model, and that its values have a place there.

    Raises:
        MethodError: If the model has no weights of the ticket's name.
        TicketError: If matrix, tokenizer or width are others.
    """
    matrix_VD = find_scope(base.model, ticket.tensor).matrix()
    try:
        ticket.check_base(
            base_digest=_digest(matrix_VD, ticket),
            tokenizer_digest=tokenizer_digest(base.tokenizer),
        )
    except TicketError as error:
        raise TicketError(f"model {base.reference.name!r}: {error}") from None
    rows, width = matrix_VD.shape
    if max(ticket.token_ids) >= rows:
        raise TicketError(f"the ticket names row {max(ticket.token_ids)}, the model has {rows}")
    if ticket.row_values is not None and ticket.row_values.shape[1] != width:
        raise TicketError(
            f"the ticket's rows are {ticket.row_values.shape[1]} wide, the model's {width}"
        )


def _digest(matrix_VD: Tensor, ticket: Ticket) -> str:
    """Return the matrix's digest; rounded to bf16 if the ticket was found in that, as suites may be run."""
    rounded = matrix_digest(matrix_VD.bfloat16())
    return rounded if rounded == ticket.base_digest else matrix_digest(matrix_VD)


def check_values(ticket: Ticket) -> None:
    """Check that a ticket carries the values of its rows.

    Raises:
        TicketError: If it only names rows.
    """
    if ticket.row_values is None:
        raise TicketError(
            f"the {ticket.criterion} ticket names {ticket.k} rows but carries no values (values: none): "
            "there is nothing to put into a model"
        )


def apply_ticket(ticket: Ticket, base: Base) -> None:
    """Write the ticket's rows over those of the model, in place.

    A model with tied embeddings is untied for it, since a ticket names one side.

    Raises:
        TicketError: If the ticket carries no values.
    """
    check_values(ticket)
    PartialTransfer().attach(base.model, ticket=ticket, seed=0)


def write_applied(ticket: Ticket, name: str, output: Path) -> Base:
    """Write a model with a ticket applied as a new model folder, whole or not at all.

    Args:
        ticket: With values.
        name: The model that it is for: a folder, a Hugging Face id, or `tiny-base`.
        output: A folder that is empty or not there.

    Returns:
        What was written.

    Raises:
        KslBenchError: If anything does not fit, or the folder cannot be written.
    """
    check_values(ticket)
    check_free(output)
    base = load_base(name, ticket)
    apply_ticket(ticket, base)
    with new_folder(output) as folder:
        _write_model(base, folder)
    return base


def _write_model(base: Base, folder: Path) -> None:
    """Write model and tokenizer; what says how the model is used stays as it was."""
    origin = weights_folder(base.reference)
    config = json.loads((origin / "config.json").read_text(encoding="utf-8"))
    base.model.config.use_cache = config.get("use_cache", True)
    import_deepspeed()  # saving does, and not as quietly
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    # The model was loaded without what its publisher says of generation.
    generation = "generation_config.json"
    (folder / generation).unlink(missing_ok=True)
    if (origin / generation).is_file():
        shutil.copyfile(origin / generation, folder / generation)
