"""A ticket as an adapter of PEFT, that loads where this package is not installed.

PEFT's trainable tokens replace rows of a weight by rows of the adapter, which is what partial transfer does.

Shapes: K rows of a ticket, D values a row.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.methods.base import is_tied
from ksl_bench.methods.scope import TOKEN_SCOPES, Part, find_scope
from ksl_bench.tickets.apply import Base, check_values, load_base
from ksl_bench.tickets.folders import check_free, new_folder


def write_peft(ticket: Ticket, name: str, output: Path) -> None:
    """Write a ticket as a folder for `PeftModel.from_pretrained(model, folder)`.

    Args:
        ticket: With values.
        name: The model that it is for: a folder, a Hugging Face id, or `tiny-base`.
        output: A folder that is empty or not there.

    Raises:
        KslBenchError: If PEFT cannot express the ticket, anything does not fit, or the folder cannot be
            written.
    """
    check_values(ticket)
    check_free(output)
    base = load_base(name, ticket)
    part = _only_part(ticket, base)
    with new_folder(output) as folder:
        _write(ticket, base, part, folder)


def _only_part(ticket: Ticket, base: Base) -> Part:
    """Return the one weight that holds the ticket's rows.

    Raises:
        TicketError: If PEFT would change other rows than the ticket does.
    """
    if ticket.tensor in TOKEN_SCOPES and is_tied(base.model):
        raise TicketError(
            f"PEFT cannot express this ticket: {base.reference.name!r} ties input and output embedding, "
            f"PEFT changes both sides, the ticket is for the {ticket.tensor} alone; use ticket apply"
        )
    parts = find_scope(base.model, ticket.tensor).parts(ticket.token_ids)
    if len(parts) > 1:
        raise TicketError(
            "PEFT cannot express this ticket: PEFT changes the same rows of every weight, this ticket has "
            f"its own in each of {len(parts)}; use ticket apply"
        )
    if getattr(parts[0].module, "bias", None) is not None:
        raise TicketError(
            f"PEFT cannot express this ticket: it drops the bias that {parts[0].name} has; use ticket apply"
        )
    return parts[0]


def _write(ticket: Ticket, base: Base, part: Part, folder: Path) -> None:
    from peft import TrainableTokensConfig, get_peft_model, get_peft_model_state_dict

    assert ticket.row_values is not None
    config = TrainableTokensConfig(
        token_indices=part.rows_K.tolist(),
        target_modules=[part.name],
        task_type="CAUSAL_LM",
        inference_mode=True,
        # PEFT replaces it by this name, and warns where it was another one.
        base_model_name_or_path=base.model.name_or_path,
        revision=base.reference.revision,
    )
    attached: nn.Module = get_peft_model(base.model, config)
    state: dict[str, Tensor] = get_peft_model_state_dict(attached, save_embedding_layers=False)
    (name,) = state
    values_KD = ticket.row_values[part.places_K].contiguous()
    assert state[name].shape == values_KD.shape
    save_file({name: values_KD}, folder / "adapter_model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
