"""Statistics of a text under a language model, and which direction of each speaks for a machine.

A model's logits at a token say what it expects next. Every statistic is a mean over the tokens of a text that
have a token before them; padding is left out.

Shapes: B texts, L tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ksl_bench.registry import Registry

Scores = TypeVar("Scores", Tensor, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic: what it is, and how it is turned so that more of it speaks for a machine."""

    formula: str
    sign: int
    """+1 where a high value speaks for a machine, -1 where a low one does."""
    source: str
    second_model: bool = False
    """Whether it compares two models of one vocabulary."""


STATISTICS: Registry[Statistic] = Registry(
    "statistic",
    {
        "log_likelihood": Statistic(
            "mean of log p(token)", +1, "Solaiman et al. 2019 (arXiv:1908.09203)"
        ),
        "rank": Statistic(
            "mean of 1 + the number of tokens that are likelier than the token",
            -1,
            "Gehrmann et al. 2019 (arXiv:1906.04043)",
        ),
        "log_rank": Statistic(
            "mean of log(rank of the token)", -1, "Mitchell et al. 2023 (arXiv:2301.11305)"
        ),
        "entropy": Statistic(
            "mean of -sum_v p(v) log p(v)",
            +1,
            "Gehrmann et al. 2019; the direction is that of Mitchell et al. 2023, who found it more often "
            "so than not",
        ),
        "binoculars": Statistic(
            "mean of -log p_performer(token) over mean of -sum_v p_observer(v) log p_performer(v)",
            -1,
            "Hans et al. 2024 (arXiv:2401.12070)",
            second_model=True,
        ),
    },
)


def one_model_statistics(logits_BLV: Tensor, ids_BL: Tensor, real_BL: Tensor) -> dict[str, Tensor]:
    """Compute what one model says of texts.

    Args:
        logits_BLV: Of the model, floating point, (B, L, V): at a token, for the next one.
        ids_BL: Token ids, int64, (B, L), padded on either side.
        real_BL: False on padding, bool, (B, L).

    Returns:
        By name `log_likelihood`, `rank`, `log_rank` and `entropy`, float64, (B,). Natural logarithms. Tokens
        that are equally likely share the best rank among them.

    Raises:
        ValueError: If the shapes do not fit, or a text has no token with a token before it.
    """
    scored_BL = _scored(logits_BLV, ids_BL, real_BL)
    log_BLV = torch.log_softmax(logits_BLV[:, :-1].float(), dim=-1)
    own_BL1 = log_BLV.gather(-1, ids_BL[:, 1:, None])
    ranks_BL = 1.0 + (log_BLV > own_BL1).sum(dim=-1).double()
    values = {
        "log_likelihood": own_BL1.squeeze(-1),
        "rank": ranks_BL,
        "log_rank": ranks_BL.log(),
        "entropy": torch.special.entr(log_BLV.exp()).sum(dim=-1),
    }
    return {name: _mean(value_BL, scored_BL) for name, value_BL in values.items()}


def binoculars(
    observer_BLV: Tensor, performer_BLV: Tensor, ids_BL: Tensor, real_BL: Tensor
) -> Tensor:
    """Compute the Binoculars score: log-perplexity over cross-perplexity.

    The performer's surprise at the text, over its surprise at what the observer expects. Both means run over
    the same tokens, as in the paper's formula; the authors' code also counts the prediction after the last
    token, in the cross-perplexity alone.

    Args:
        observer_BLV: Logits of the observer, floating point, (B, L, V): at a token, for the next one.
        performer_BLV: Of the performer, over the same vocabulary, (B, L, V).
        ids_BL: Token ids, int64, (B, L), padded on either side.
        real_BL: False on padding, bool, (B, L).

    Returns:
        The scores, float64, (B,); low values speak for a machine.

    Raises:
        ValueError: As `one_model_statistics`, or if the two vocabularies differ in size.

    Source: Hans et al. 2024 (arXiv:2401.12070), equation 4.
    """
    if observer_BLV.shape != performer_BLV.shape:
        raise ValueError(
            "observer and performer must share a vocabulary, got logits of shape "
            f"{tuple(observer_BLV.shape)} and {tuple(performer_BLV.shape)}"
        )
    scored_BL = _scored(performer_BLV, ids_BL, real_BL)
    performer = torch.log_softmax(performer_BLV[:, :-1].float(), dim=-1)
    observer = torch.softmax(observer_BLV[:, :-1].float(), dim=-1)
    surprise_BL = -performer.gather(-1, ids_BL[:, 1:, None]).squeeze(-1)
    # Where the observer sees no chance at all, 0 x infinity counts as 0.
    cross_BL = -torch.where(observer > 0, observer * performer, 0.0).sum(dim=-1)
    return _mean(surprise_BL, scored_BL) / _mean(cross_BL, scored_BL)


def machine_scores(values: Mapping[str, Scores]) -> dict[str, Scores]:
    """Turn statistics, by name, so that a high score speaks for a machine.

    Raises:
        ConfigError: If a statistic is unknown.
    """
    return {name: STATISTICS[name].sign * value for name, value in values.items()}


def _scored(logits_BLV: Tensor, ids_BL: Tensor, real_BL: Tensor) -> Tensor:
    """Return which positions from the second on are tokens with a token before them; (B, L - 1)."""
    if logits_BLV.shape[:2] != ids_BL.shape or real_BL.shape != ids_BL.shape:
        raise ValueError(
            f"logits {tuple(logits_BLV.shape)}, ids {tuple(ids_BL.shape)} and mask "
            f"{tuple(real_BL.shape)} do not fit together"
        )
    real = real_BL.bool()
    scored_BL = real[:, :-1] & real[:, 1:]
    short = (~scored_BL.any(dim=1)).nonzero().flatten().tolist()
    if short:
        raise ValueError(f"a text needs two tokens, rows with fewer: {short}")
    return scored_BL


def _mean(value_BL: Tensor, scored_BL: Tensor) -> Tensor:
    kept = torch.where(scored_BL, value_BL.double(), 0.0)
    return kept.sum(dim=1) / scored_BL.sum(dim=1)
