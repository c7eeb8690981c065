"""From examples to token ids, to global batches, to padded tensors.

Shapes: B examples of a micro-batch, L their longest length in tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ksl_bench.errors import DataError

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Label of a position that bears no loss (PyTorch's convention for cross entropy)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tuning example as token ids."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    """The response and EOS: these positions bear the loss."""
    truncated: bool = False

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: str, response: str, *, max_seq_length: int
) -> Encoded:
    """Tokenize one example; EOS ends the response and is a label, unless it was cut off.

    The prompt is tokenized alone, as it is for generation. The response is what the joint text adds
    to it where the prompt's tokens are a prefix of the joint text's (so that SentencePiece does not
    see a second beginning of text), else the response tokenized alone.

    Args:
        tokenizer: Of the base model.
        prompt: Rendered prompt.
        response: The wanted output with its leading blank, if the template asks for one.
        max_seq_length: Longest prompt and response, in tokens.
    """
    prompt_ids: list[int] = tokenizer(prompt)["input_ids"]
    joint: list[int] = tokenizer(prompt + response)["input_ids"]
    if joint[: len(prompt_ids)] == prompt_ids:
        response_ids = joint[len(prompt_ids) :]
    else:
        response_ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    eos: int = tokenizer.eos_token_id
    if response_ids[-1:] != [eos]:  # some tokenizers add it by themselves
        response_ids = [*response_ids, eos]
    room = max(1, max_seq_length - len(prompt_ids))
    return Encoded(tuple(prompt_ids), tuple(response_ids[:room]), len(response_ids) > room)


def in_span(
    tokenizer: PreTrainedTokenizerBase, prompt: str, span: tuple[int, int]
) -> tuple[list[int], list[bool]]:
    """Tell which tokens of a prompt lie in a part of its text.

    A token that reaches into the part belongs to it; special tokens belong to none.

    Args:
        tokenizer: Of the base model; one with offsets, as all fast ones are.
        prompt: Rendered prompt.
        span: Begin and end of the part, in characters.

    Returns:
        The prompt's ids, and for each whether it lies in the part.

    Raises:
        DataError: If the tokenizer knows no offsets.
    """
    if not tokenizer.is_fast:
        raise DataError("telling prompt from sentence needs a fast tokenizer, which knows offsets")
    encoded = tokenizer(prompt, return_offsets_mapping=True)
    inside = [start < span[1] and end > span[0] for start, end in encoded["offset_mapping"]]
    return list(encoded["input_ids"]), inside


def token_counts(examples: Sequence[Encoded], *, vocabulary: int) -> Tensor:
    """Count how often each token stands at an input position in tuning.

    The last token of a response is only ever a label, so it does not count.

    Returns:
        int64, shape (vocabulary,).
    """
    ids = [i for one in examples for i in (*one.prompt_ids, *one.response_ids[:-1])]
    return torch.bincount(torch.tensor(ids, dtype=torch.int64), minlength=vocabulary)


def global_batches(
    examples: int, *, global_batch_size: int, steps: int, seed: int
) -> Iterator[list[int]]:
    """Yield the example indices of each optimizer step: epoch after epoch, each newly shuffled.

    The order depends on the seed alone, so every worker computes the same one, and a resumed run
    skips to its step.
    """
    order = random.Random(seed)
    pending: list[int] = []
    for _ in range(steps):
        while len(pending) < global_batch_size:
            epoch = list(range(examples))
            order.shuffle(epoch)
            pending += epoch
        yield pending[:global_batch_size]
        pending = pending[global_batch_size:]


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return an id to fill short rows with: the pad token, but never EOS.

    Padded positions are masked by position, so any id does; EOS is avoided all the same because
    libraries mask by id, and a masked EOS is never learned.
    """
    eos: int = tokenizer.eos_token_id
    for candidate in (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id):
        if candidate is not None and candidate != eos:
            return int(candidate)
    return 0 if eos != 0 else 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded tensors of one micro-batch.

    Causal attention never looks right, so rows need no attention mask: padding stands after all that
    bears loss.
    """

    input_ids_BL: Tensor
    """int64."""
    labels_BL: Tensor
    """int64, shifted: the label at a position is the token that follows; IGNORED elsewhere."""


def collate(examples: Sequence[Encoded], *, pad_id: int) -> Batch:
    """Pad examples on the right and shift their labels by one."""
    length = max(len(one) for one in examples)
    inputs = torch.full((len(examples), length), pad_id, dtype=torch.int64)
    labels = torch.full((len(examples), length), IGNORED, dtype=torch.int64)
    for row, one in enumerate(examples):
        ids = torch.tensor((*one.prompt_ids, *one.response_ids), dtype=torch.int64)
        inputs[row, : len(ids)] = ids
        start = len(one.prompt_ids) - 1
        labels[row, start : len(ids) - 1] = ids[len(one.prompt_ids) :]
    return Batch(inputs, labels)
