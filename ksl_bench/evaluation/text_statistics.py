"""Statistics of many texts under one model, or two, shared out over the workers.

Shapes: N texts, B texts of a batch, L tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from ksl_bench.data.batching import padding_id
from ksl_bench.detection.statistics import binoculars, one_model_statistics
from ksl_bench.errors import DataError
from ksl_bench.evaluation.generate import batches_by_length
from ksl_bench.training.loop import Worker

NAMED = 5
"""Texts that a message names; of more the first are."""


@torch.inference_mode()
def text_statistics(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    performer: nn.Module | None = None,
    max_tokens: int,
    batch_size: int,
    worker: Worker,
    on_batch: Callable[[int], None] = lambda done: None,
) -> dict[str, NDArray[np.float64]]:
    """Compute every statistic of texts; a collective call.

    Args:
        model: On the worker's device; with a performer, the observer.
        tokenizer: Of both models.
        texts: N of them, without any prompt.
        performer: A second model of the same tokenizer, for Binoculars.
        max_tokens: What of a text is looked at, from its beginning.
        batch_size: B.
        worker: Which rank this is.
        on_batch: Told how many texts this rank has done.

    Returns:
        By name, float64, (N,): with a performer `binoculars`, else those of one model.

    Raises:
        DataError: If a text has no token with a token before it; it names the text by its place, from 0.
    """
    model.eval()
    ids = [tokenizer(one)["input_ids"][:max_tokens] for one in texts]
    short = [f"{at} ({texts[at]!r})" for at, one in enumerate(ids) if len(one) < 2]
    if short:
        more = f", and {len(short) - NAMED} more" if len(short) > NAMED else ""
        raise DataError(
            f"a statistic needs texts of two tokens or more; text {', '.join(short[:NAMED])}{more} (from 0) "
            f"has fewer"
        )
    mine: dict[int, dict[str, float]] = {}
    for batch in batches_by_length(ids, batch_size=batch_size)[worker.rank :: worker.world_size]:
        ids_BL, real_BL = _pad_right([ids[index] for index in batch], padding_id(tokenizer))
        ids_BL, real_BL = ids_BL.to(worker.device), real_BL.to(worker.device)
        logits_BLV = _logits(model, ids_BL, real_BL)
        if performer is None:
            found = one_model_statistics(logits_BLV, ids_BL, real_BL)
        else:
            performed_BLV = _logits(performer.eval(), ids_BL, real_BL)
            found = {"binoculars": binoculars(logits_BLV, performed_BLV, ids_BL, real_BL)}
        for place, index in enumerate(batch):
            mine[index] = {name: float(values[place]) for name, values in found.items()}
        on_batch(len(mine))
    return _collect(mine, worker)


def _pad_right(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ids and which of them are real; causal attention never looks right."""
    tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
    ids_BL = pad_sequence(tensors, batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(row) for row in rows])
    return ids_BL, torch.arange(ids_BL.shape[1]) < lengths[:, None]


def _logits(model: nn.Module, ids_BL: Tensor, real_BL: Tensor) -> Tensor:
    answer = model(input_ids=ids_BL, attention_mask=real_BL.long(), use_cache=False)
    logits_BLV: Tensor = answer.logits
    return logits_BLV


def _collect(mine: dict[int, dict[str, float]], worker: Worker) -> dict[str, NDArray[np.float64]]:
    parts: list[Any] = [mine]
    if worker.world_size > 1:
        parts = [None] * worker.world_size
        dist.all_gather_object(parts, mine)
    merged = {index: values for part in parts for index, values in part.items()}
    names = next(iter(merged.values()))
    return {name: np.array([merged[index][name] for index in range(len(merged))]) for name in names}
