"""One audited model held against the tuned one: agreement, the KS-sum rule, Gaussian smoothing.

Shapes: V vocabulary, P positions of all examples, Q positions of the sampled examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ksl_bench.audit.predictions import (
    SELECTION_DRAWS,
    Predictions,
    Smoothing,
    count_classes,
    inputs_of,
    smoothed_classes,
)
from ksl_bench.data.batching import Encoded
from ksl_bench.lottery.certificate import (
    ks_sum_certifies,
    largest_radius,
    lower_bounds,
    outside,
    prefix_norms,
    prefix_sums,
    radii,
)
from ksl_bench.lottery.kstest import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """What the audited models of all k are held against."""

    examples: Sequence[Encoded]
    distances_V: Tensor
    """KS distance of every row between base and tuned model, float64."""
    lengths_V: Tensor
    """Length of every row's change as the model embeds it, float64."""
    base: Predictions
    tuned: Predictions
    smoothing: Smoothing
    sample: Sequence[int]
    """Places of the examples that are smoothed."""
    tuned_classes: dict[float, Tensor]
    """By sigma: the tuned model's class under noise at the sampled positions, int64, (Q,)."""

    def sampled_positions(self) -> list[int]:
        """Return which of the P positions are sampled, Q of them."""
        lengths = [len(one.response_ids) for one in self.examples]
        starts = np.cumsum([0, *lengths])
        return [int(starts[one]) + at for one in self.sample for at in range(lengths[one])]


def judge(
    audited: PreTrainedModel, plain: Predictions, ticket_ids: Sequence[int], compared: Compared
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Hold an audited model against the tuned one.

    Args:
        audited: The base with the ticket's rows of the tuned model.
        plain: What it predicts without noise.
        ticket_ids: The ticket's rows.
        compared: What does not depend on the ticket.

    Returns:
        The report of this ticket, and a record of every position.
    """
    distances_V = outside(compared.distances_V, ticket_ids)
    lengths_V = outside(compared.lengths_V, ticket_ids)
    sums_P = _per_position(prefix_sums, distances_V, compared.examples)
    norms_P = _per_position(prefix_norms, lengths_V, compared.examples)
    certified_P = ks_sum_certifies(sums_P, plain.first_P, plain.second_P)
    differs_P = plain.top_P != compared.tuned.top_P
    records = _records(plain, compared, sums_P, norms_P, certified_P)
    report = {
        "k": len(ticket_ids),
        "unchanged_positions": int((norms_P == 0).sum()),
        "agreement": agreement(plain, compared),
        "ks_sum": {
            "certified": int(certified_P.sum()),
            "certified_share": _share(certified_P),
            "certified_where_prefix_changed": int((certified_P & (norms_P > 0)).sum()),
            "violations": int((certified_P & differs_P).sum()),
            "disagreements": int(differs_P.sum()),
            "median_distance_sum": _median(sums_P),
            "median_half_gap": _median((plain.first_P - plain.second_P) / 2),
        },
        "smoothing": [
            _smoothed(audited, plain, norms_P, sigma, compared, records)
            for sigma in compared.smoothing.sigmas
            if compared.sample
        ],
    }
    return report, records


def agreement(plain: Predictions, compared: Compared) -> dict[str, Any]:
    """Count where the best token is the tuned model's, at all positions and where base and tuned differ."""
    agrees_P = plain.top_P == compared.tuned.top_P
    contested_P = compared.base.top_P != compared.tuned.top_P
    return {
        "positions": len(agrees_P),
        "share": _share(agrees_P),
        "contested_positions": int(contested_P.sum()),
        "contested_share": _share(agrees_P[contested_P]),
    }


def _smoothed(
    audited: PreTrainedModel,
    plain: Predictions,
    norms_P: Tensor,
    sigma: float,
    compared: Compared,
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    """Smooth with one sigma; a position whose prefix did not change needs no certificate."""
    how, places = compared.smoothing, compared.sampled_positions()
    classes_Q, successes_Q = _bounded_classes(audited, sigma, compared)
    lower_Q = lower_bounds(successes_Q, draws=how.draws, alpha=how.alpha)
    radius_Q, delta_Q = radii(lower_Q, sigma=sigma), norms_P[places].numpy()
    same_Q = (classes_Q == compared.tuned_classes[sigma]).numpy()
    plain_Q = (classes_Q == plain.top_P[places]).numpy()
    tested_Q, certified_Q = delta_Q > 0, (delta_Q > 0) & (radius_Q > delta_Q)
    for at, place in enumerate(places):
        records[place]["smoothing"].append(
            {
                "sigma": sigma,
                "class": int(classes_Q[at]),
                "successes": int(successes_Q[at]),
                "lower_bound": float(lower_Q[at]),
                "radius": float(radius_Q[at]),
                "certified": bool(certified_Q[at]),
                "tuned_class": int(compared.tuned_classes[sigma][at]),
            }
        )
    tested = int(tested_Q.sum())
    return {
        "sigma": sigma,
        "positions": len(places),
        "unchanged": len(places) - tested,
        "tested": tested,
        "abstained": int((tested_Q & (radius_Q == 0)).sum()),
        "certified": int(certified_Q.sum()),
        "violations": int((certified_Q & ~same_Q).sum()),
        "median_radius": _median(radius_Q[tested_Q]),
        "largest_possible_radius": largest_radius(sigma=sigma, draws=how.draws, alpha=how.alpha),
        "median_delta": _median(delta_Q[tested_Q]),
        "median_radius_over_delta": _median(radius_Q[tested_Q] / delta_Q[tested_Q]),
        "class_is_tuned_class_share": _share(same_Q[tested_Q]),
        "class_is_plain_top_share": _share(plain_Q[tested_Q]),
        "bonferroni": min(1.0, how.alpha * tested),
    }


def _bounded_classes(
    audited: PreTrainedModel, sigma: float, compared: Compared
) -> tuple[Tensor, Tensor]:
    """Choose the class by some draws, then count it in others; each int64, (Q,)."""
    how, classes, successes = compared.smoothing, [], []
    for at in compared.sample:
        example = compared.examples[at]
        chosen = smoothed_classes(
            audited,
            compared.examples,
            [at],
            sigma=sigma,
            draws=SELECTION_DRAWS,
            stream=(how.seed, "choose"),
        )
        counts_PV = count_classes(
            audited, example, sigma=sigma, draws=how.draws, stream=(how.seed, "bound", sigma, at)
        )
        classes.append(chosen)
        successes.append(counts_PV.gather(1, chosen.unsqueeze(1)).squeeze(1))
    return torch.cat(classes), torch.cat(successes)


def _per_position(function: Any, values_V: Tensor, examples: Sequence[Encoded]) -> Tensor:
    """Return a sum over the prefix of every position, (P,)."""
    parts = [function(values_V, inputs_of(one))[len(one.prompt_ids) - 1 :] for one in examples]
    return torch.cat(parts)


def _records(
    plain: Predictions, compared: Compared, sums_P: Tensor, norms_P: Tensor, certified_P: Tensor
) -> list[dict[str, Any]]:
    where = [
        (sentence, at, token)
        for sentence, one in enumerate(compared.examples, 1)
        for at, token in enumerate(one.response_ids)
    ]
    return [
        {
            "sentence": sentence,
            "position": at,
            "reference_token": token,
            "base_top": int(compared.base.top_P[place]),
            "tuned_top": int(compared.tuned.top_P[place]),
            "audited_top": int(plain.top_P[place]),
            "p_first": float(plain.first_P[place]),
            "p_second": float(plain.second_P[place]),
            "distance_sum": float(sums_P[place]),
            "delta_norm": float(norms_P[place]),
            "ks_sum_certified": bool(certified_P[place]),
            "smoothing": [],
        }
        for place, (sentence, at, token) in enumerate(where)
    ]


def _share(flags: Tensor | NDArray[np.bool_]) -> float | None:
    return float(flags.sum()) / len(flags) if len(flags) else None


def _median(values: Tensor | Floats) -> float | None:
    return float(np.median(np.asarray(values))) if len(values) else None
