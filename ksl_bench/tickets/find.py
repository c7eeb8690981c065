"""Find a ticket from two checkpoints, no suite needed.

Shapes: V rows of a scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ksl_bench.config import TranslationSpec
from ksl_bench.data.batching import Encoded, padding_id, token_counts
from ksl_bench.errors import TicketError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.lottery.published import TICKETS, is_llama_tokenizer
from ksl_bench.lottery.selection import select
from ksl_bench.lottery.ticket import Ticket, matrix_digest, rows_of
from ksl_bench.methods.scope import INPUT_EMBEDDING, TOKEN_SCOPES
from ksl_bench.models import load_model, load_tokenizer, tokenizer_digest
from ksl_bench.tasks import build_task
from ksl_bench.tasks.encoding import encode_examples, instruction_tokens, sentence_places
from ksl_bench.tickets.rows import Checkpoint, read_checkpoint
from ksl_bench.training.gradients import row_gradients

BATCH_SIZE = 8
"""Examples of a pass for the gradient; it changes nothing but speed and memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What ticket is wanted, and where to look."""

    before: str
    """The base: a model folder, a Hugging Face id, or a safetensors file."""
    after: str | None = None
    """The same after tuning; a criterion may need none."""
    criterion: str = "ks"
    k: int | None = None
    alpha: float | None = None
    scope: str = INPUT_EMBEDDING
    tensor: str | None = None
    """Which tensor of a bare safetensors file."""
    task: TranslationSpec | None = None
    """The tuning text under its prompt: for counts, the tokens of the prompt, and gradients."""
    seed: int = 0


def find_ticket(search: Search) -> Ticket:
    """Select rows as a suite does, from checkpoints.

    Raises:
        ConfigError: If the criterion is unknown.
        ModelError: If a checkpoint cannot be read.
        DataError: If the text cannot be read.
        TicketError: If something that the criterion needs is not given, or the ticket cannot be filled.
    """
    criterion = CRITERIA[search.criterion]
    _check(search)
    before = read_checkpoint(
        search.before, option="before", scope=search.scope, tensor=search.tensor
    )
    tokenizer = None if before.reference is None else load_tokenizer(before.reference)
    evidence = Evidence(
        before_VD=before.rows_VD,
        k=search.k,
        seed=search.seed,
        **_after(search, before),
        **_from_text(search, before, tokenizer),
        **_from_tokenizer(search, tokenizer),
    )
    selection = select(criterion, evidence, alpha=search.alpha)
    after_VD = evidence.after_VD
    return Ticket(
        base_model=search.before if before.reference is None else before.reference.name,
        revision=None if before.reference is None else before.reference.revision,
        base_digest=matrix_digest(before.rows_VD),
        tokenizer_digest=None if tokenizer is None else tokenizer_digest(tokenizer),
        tensor=before.scope.name,
        criterion=search.criterion,
        alpha=search.alpha,
        k=len(selection.token_ids),
        source_state=None,
        values="none" if after_VD is None else "transferred",
        rows=rows_of(selection, before.scope.row_names(_tokens(tokenizer))),
        tests=selection.tests,
        row_values=None if after_VD is None else after_VD[selection.token_ids].clone(),
    )


def _check(search: Search) -> None:
    criterion, problems = CRITERIA[search.criterion], []
    name = repr(search.criterion)
    if search.k is not None and search.alpha is not None:
        problems.append(f"k and alpha: give one, got k={search.k}, alpha={search.alpha:g}")
    if search.alpha is not None and not 0 < search.alpha < 1:
        problems.append(f"alpha: must be between 0 and 1, got {search.alpha:g}")
    if search.alpha is not None and not criterion.takes_alpha:
        problems.append(f"alpha: criterion {name} has no p-values; give k")
    if search.k is None and search.alpha is None and not criterion.own_size:
        problems.append(f"k: criterion {name} needs k" + (" or alpha" * criterion.takes_alpha))
    if "tuned" in criterion.needs and search.after is None:
        problems.append(f"after: criterion {name} needs the checkpoint after tuning")
    if criterion.needs & {"counts", "template", "gradient"} and search.task is None:
        problems.append(f"text: criterion {name} needs the tuning text")
    if problems:
        raise TicketError(problems)


def _after(search: Search, before: Checkpoint) -> dict[str, Any]:
    if search.after is None:
        return {}
    after = read_checkpoint(search.after, option="after", scope=search.scope, tensor=search.tensor)
    if after.dtype not in (before.dtype, torch.float32):
        raise TicketError(
            f"before is stored in {_name(before.dtype)}, after in {_name(after.dtype)}: rounding alone "
            "would move rows; store both alike, or after in float32"
        )
    return {"after_VD": after.rows_VD}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _from_text(
    search: Search, before: Checkpoint, tokenizer: PreTrainedTokenizerBase | None
) -> dict[str, Any]:
    """Return counts, the prompt's tokens and, if they are needed, gradients."""
    if search.task is None or (
        search.scope not in TOKEN_SCOPES and "gradient" not in _needs(search)
    ):
        return {}
    if tokenizer is None or before.reference is None:
        raise TicketError(f"before: text needs a tokenizer, and {search.before!r} is a bare file")
    task = build_task(search.task)
    items = task.read("train").items
    encoded = encode_examples(task, items, tokenizer, max_seq_length=tokenizer.model_max_length)
    found: dict[str, Any] = {}
    size = len(before.rows_VD)
    if search.scope in TOKEN_SCOPES:
        places = sentence_places(task, items, tokenizer)
        found["counts_V"] = token_counts(encoded, vocabulary=size)
        found["template_V"] = instruction_tokens(places, vocabulary=size)
    if "gradient" in _needs(search):
        found["gradient_V"] = _gradients(search, before, tokenizer, encoded)
    return found


def _needs(search: Search) -> frozenset[str]:
    return frozenset(CRITERIA[search.criterion].needs)


def _gradients(
    search: Search,
    before: Checkpoint,
    tokenizer: PreTrainedTokenizerBase,
    encoded: list[Encoded],
) -> torch.Tensor:
    assert before.reference is not None
    return row_gradients(
        load_model(before.reference, precision="fp32"),
        search.scope,
        encoded,
        batch_size=BATCH_SIZE,
        pad_id=padding_id(tokenizer),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )


def _from_tokenizer(search: Search, tokenizer: PreTrainedTokenizerBase | None) -> dict[str, Any]:
    if tokenizer is None:
        return {}
    known = is_llama_tokenizer(tokenizer.convert_ids_to_tokens, tokenizer.vocab_size)
    pair = None if search.task is None else search.task.language_pair
    published = TICKETS.get(pair) if known and pair is not None else None
    return {"bos_id": tokenizer.bos_token_id, "published_ids": published}


def _tokens(tokenizer: PreTrainedTokenizerBase | None) -> Any:
    if tokenizer is None:
        return lambda ids: [None] * len(ids)
    return tokenizer.convert_ids_to_tokens
