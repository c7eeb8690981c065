"""Probes: a trained state scored with something changed.

Shapes: B prompts of a batch, L their padded length.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ksl_bench.config import ProbeSpec
from ksl_bench.methods.partial import Activity, RowDeltaEmbedding, randomize_changes, row_deltas
from ksl_bench.plan import Work
from ksl_bench.worker.warm import Warm

BeforeBatch = Callable[[list[int], int], None]


def apply_probe(warm: Warm, work: Work, model: nn.Module) -> BeforeBatch:
    """Change a model with its trained state as its work's probe asks.

    Returns:
        What generation must call before each batch of prompts.
    """
    probe = work.baseline.probe
    if probe is not None and probe.change == "random":
        randomize_changes(model, seed=work.seed)
    if probe is not None and probe.active_in != "everywhere":
        return _restrict(warm, work, probe, model)
    return lambda indices, length: None


def _restrict(warm: Warm, work: Work, probe: ProbeSpec, model: nn.Module) -> BeforeBatch:
    """Let the change of rows act at some positions only."""
    activity = Activity(generated=probe.active_in == "generated")
    for wrapped in row_deltas(model).values():
        assert isinstance(wrapped, RowDeltaEmbedding)
        wrapped.activity = activity
    places = warm.sentence_places(work.task, warm.setting.evaluate.split)
    wanted = {"instruction": False, "source": True}.get(probe.active_in)

    def before_batch(indices: list[int], length: int) -> None:
        active_BL = torch.zeros((len(indices), length), dtype=torch.bool)
        for row, index in enumerate(indices):
            _, inside = places[index]
            active_BL[row, length - len(inside) :] = torch.tensor([one is wanted for one in inside])
        activity.begin(active_BL)

    return before_batch
