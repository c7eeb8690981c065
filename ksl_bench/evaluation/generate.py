"""Batched generation, shared out over the workers.

Every rank holds the whole model here, also after training under ZeRO-3 (the state was gathered), so
ranks may make different numbers of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from transformers import GenerationConfig, PreTrainedTokenizerBase

from ksl_bench.config import DecodingSpec
from ksl_bench.data.batching import padding_id
from ksl_bench.tasks.base import Output
from ksl_bench.training.loop import Worker

T = TypeVar("T")


def batches_by_length(prompts: Sequence[Sized], *, batch_size: int) -> list[list[int]]:
    """Group prompt indices into batches of similar length, longest first.

    The batches depend on the prompts alone, not on the number of workers, and so do the padded
    inputs: the same model gives the same text on one worker and on eight.
    """
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@torch.inference_mode()
def generate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    decoding: DecodingSpec,
    worker: Worker,
    before_batch: Callable[[list[int], int], None] = lambda indices, length: None,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[Output]:
    """Generate one output a prompt, greedily or by beam search; a collective call.

    Args:
        model: With its method attached, on the worker's device.
        tokenizer: Of the base model.
        prompts: Rendered prompts.
        decoding: Beams, token limit, batch size.
        worker: Which rank this is.
        before_batch: Told which prompts come next, and to what length they are padded on the left.
        on_batch: Told how many prompts this rank has done.

    Returns:
        The outputs in the order of the prompts, on every rank.
    """
    model.eval()
    eos = int(tokenizer.eos_token_id)
    config = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.num_beams,
        do_sample=False,
        use_cache=True,
        eos_token_id=eos,
        pad_token_id=padding_id(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
    )
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    mine: dict[int, Output] = {}
    for batch in batches_by_length(ids, batch_size=decoding.batch_size)[
        worker.rank :: worker.world_size
    ]:
        inputs, mask = _pad_left([ids[index] for index in batch], config.pad_token_id)
        before_batch(batch, inputs.shape[1])
        generated: Any = model.generate(  # type: ignore[operator]
            input_ids=inputs.to(worker.device),
            attention_mask=mask.to(worker.device),
            generation_config=config,
        )
        for index, row in zip(batch, generated[:, inputs.shape[1] :].tolist(), strict=True):
            mine[index] = _output(row, tokenizer, eos)
        on_batch(len(mine))
    return collect(mine, worker)


def _pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    inputs = torch.full((len(rows), length), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), length), dtype=torch.int64)
    for index, row in enumerate(rows):
        inputs[index, length - len(row) :] = torch.tensor(row)
        mask[index, length - len(row) :] = 1
    return inputs, mask


def _output(row: list[int], tokenizer: PreTrainedTokenizerBase, eos: int) -> Output:
    ended = eos in row
    kept = row[: row.index(eos)] if ended else row
    text = str(tokenizer.decode(kept, skip_special_tokens=True))
    return Output(text=text, ended=ended, tokens=len(kept) + ended)


def collect(mine: dict[int, T], worker: Worker) -> list[T]:
    """Return what all ranks made, in the order of its numbers; a collective call."""
    parts: list[Any] = [mine]
    if worker.world_size > 1:
        parts = [None] * worker.world_size
        dist.all_gather_object(parts, mine)
    merged = {index: output for part in parts for index, output in part.items()}
    return [merged[index] for index in range(len(merged))]
