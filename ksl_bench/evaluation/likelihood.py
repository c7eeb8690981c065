"""How likely a model finds each of several answers to a prompt.

Shapes: B rows of a batch, L their length, N labelled positions, V vocabulary, C answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ksl_bench.data.batching import IGNORED, Encoded, collate
from ksl_bench.evaluation.generate import batches_by_length, collect
from ksl_bench.training.loop import LabelPositions, Worker


@torch.inference_mode()
def answer_scores(
    model: nn.Module,
    choices: Sequence[Sequence[Encoded]],
    *,
    pad_id: int,
    batch_size: int,
    worker: Worker,
) -> list[tuple[float, ...]]:
    """Score every answer to every prompt: the log probability of its tokens; a collective call.

    EOS is not scored: what is asked is which answer, not whether the model stops after it. Longer answers are
    not compensated for their length, so verbalizers of like length are the fairest.

    Args:
        model: With its method attached, on the worker's device.
        choices: For every prompt the prompt with each of its C answers.
        pad_id: Fills short rows.
        batch_size: Rows of a forward pass.
        worker: Which rank this is.

    Returns:
        C natural logarithms a prompt, in the order of the prompts, on every rank.
    """
    model.eval()
    rows = [one for answers in choices for one in answers]
    labels = LabelPositions(model)
    mine: dict[int, float] = {}
    try:
        for batch in batches_by_length(rows, batch_size=batch_size)[
            worker.rank :: worker.world_size
        ]:
            some = [rows[at] for at in batch]
            found = _log_probabilities(model, labels, some, pad_id, worker.device)
            mine.update(zip(batch, found, strict=True))
    finally:
        labels.remove()
    scores = iter(collect(mine, worker))
    return [tuple(next(scores) for _ in answers) for answers in choices]


def _log_probabilities(
    model: nn.Module,
    labels: LabelPositions,
    rows: Sequence[Encoded],
    pad_id: int,
    device: torch.device,
) -> list[float]:
    batch = collate(rows, pad_id=pad_id)
    targets_BL = batch.labels_BL.to(device).clone()
    for row, one in enumerate(rows):
        targets_BL[row, len(one) - 2] = IGNORED  # where EOS would be predicted
    mask_BL = targets_BL != IGNORED
    logits_NV = labels.logits(model, batch.input_ids_BL.to(device), mask_BL)
    losses_N: Tensor = F.cross_entropy(logits_NV.float(), targets_BL[mask_BL], reduction="none")
    sums_B = torch.zeros(len(rows), dtype=torch.float64, device=device)
    sums_B.index_add_(0, mask_BL.nonzero()[:, 0], losses_N.double())
    return (-sums_B).tolist()
