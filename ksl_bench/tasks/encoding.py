"""A task's examples as token ids, and which of their tokens belong to the example's own text.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ksl_bench.data.batching import Encoded, encode, in_span
from ksl_bench.tasks.base import Example, Task

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedTokenizerBase

UNCUT = 1 << 30
"""A length that no example has: what is scored is not cut."""

Places = list[tuple[list[int], list[bool]]]
"""For every prompt its token ids, and for each whether it lies in the example's own text."""


def encode_examples(
    task: Task,
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_seq_length: int,
) -> list[Encoded]:
    """Put examples into the task's prompt and tokenize them with their responses, for tuning."""
    template = task.template
    return [
        encode(
            tokenizer,
            template.render(one.fields),
            template.response_prefix + one.response,
            max_seq_length=max_seq_length,
        )
        for one in examples
    ]


def encode_choices(
    task: Task, examples: Iterable[Example], tokenizer: PreTrainedTokenizerBase
) -> list[list[Encoded]]:
    """Put examples into the task's prompt, each with every label's verbalizer as its response."""
    template = task.template
    return [
        [
            encode(
                tokenizer,
                template.render(one.fields),
                template.response_prefix + word,
                max_seq_length=UNCUT,
            )
            for _, word in task.labels
        ]
        for one in examples
    ]


def sentence_places(
    task: Task, examples: Iterable[Example], tokenizer: PreTrainedTokenizerBase
) -> Places:
    """Tell the example's own text from the instruction in every prompt, token by token.

    Raises:
        DataError: If the tokenizer knows no offsets.
    """
    template, field = task.template, task.sentence
    return [
        in_span(tokenizer, template.render(one.fields), template.span(one.fields, field))
        for one in examples
    ]


def instruction_tokens(
    places: Sequence[tuple[Sequence[int], Sequence[bool]]], *, vocabulary: int
) -> Tensor:
    """Return which tokens stand in a prompt outside the example's own text; bool, shape (V,)."""
    found_V = torch.zeros(vocabulary, dtype=torch.bool)
    for ids, inside in places:
        found_V[[one for one, own in zip(ids, inside, strict=True) if not own]] = True
    return found_V
