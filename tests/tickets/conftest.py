"""What the tests of tickets on models share: tickets for the shipped base, changed so that it shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from ksl_bench import tiny_base
from ksl_bench.config import ModelSpec
from ksl_bench.lottery.ticket import Ticket, TicketRow, matrix_digest
from ksl_bench.models import find_model, load_tokenizer, tokenizer_digest

WEIGHTS = {
    "input_embedding": "model.embed_tokens.weight",
    "output_head": "lm_head.weight",
    "model.layers.1.mlp.up_proj": "model.layers.1.mlp.up_proj.weight",
}


@pytest.fixture(scope="session")
def tiny_weights() -> dict[str, torch.Tensor]:
    """Return the weights of the shipped base, as its file has them."""
    return load_file(tiny_base.PATH / "model.safetensors")


@pytest.fixture(scope="session")
def tiny_ticket(tiny_weights: dict[str, torch.Tensor]) -> Callable[..., Ticket]:
    """Return a maker of tickets for the shipped base, whose rows are the base's with noise."""
    tokenizer = load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base")))

    def make(
        ids: list[int], *, tensor: str = "input_embedding", carries: str = "transferred"
    ) -> Ticket:
        matrix = tiny_weights[WEIGHTS[tensor]]
        noise = torch.randn(len(ids), 128, generator=torch.Generator().manual_seed(0))
        return Ticket(
            base_model="tiny-base",
            revision=None,
            base_digest=matrix_digest(matrix),
            tokenizer_digest=tokenizer_digest(tokenizer),
            tensor=tensor,
            criterion="ks",
            alpha=None,
            k=len(ids),
            source_state=None,
            values=carries,
            rows=tuple(
                TicketRow(one, tokenizer.convert_ids_to_tokens(one), D=0.5, p=1e-5, l2=1.0, count=3)
                for one in ids
            ),
            row_values=None if carries == "none" else matrix[ids] + noise,
        )

    return make
