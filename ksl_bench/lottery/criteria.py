"""Criteria: how rows are put in order, best first.

A criterion is one function and one line in the registry. It sees the evidence and returns the rows that
are eligible in order; `selection.select` cuts that order at k, or at alpha.

Shapes: V rows (vocabulary), D values a row (model width).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ksl_bench.errors import TicketError
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.registry import Registry

MATCHES = 3
"""Tokens of nearest frequency among which the matched control draws one."""

Need = Literal["tuned", "counts", "gradient", "template", "tokenizer", "languages", "seed"]
"""What a criterion looks at beside the base; the plan sees to it that it is there."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way to order rows, and what it needs for that."""

    description: str
    rank: Callable[[Evidence], Tensor]
    """From the evidence to the eligible row ids, int64, on the CPU, best first."""
    needs: frozenset[Need] = frozenset()
    takes_alpha: bool = False
    """Whether it has p-values to hold against alpha."""
    own_size: bool = False
    """Whether it names its rows itself, so that k may be left out."""
    tokens_only: bool = True
    """Whether rows must be tokens; else it works on any linear weight."""


def by_ks(evidence: Evidence) -> Tensor:
    """Order the rows that moved by p, ties by the length of their change, then by id."""
    rows = evidence.moved_V.nonzero().squeeze(-1).numpy()
    # p falls as h rises, for one width: h sorts as p does, without its rounding.
    heights, l2 = evidence.heights_V.numpy()[rows], evidence.l2_V.numpy()[rows]
    return torch.from_numpy(rows[np.lexsort((rows, -l2, -heights))])


def by_l2(evidence: Evidence) -> Tensor:
    """Order the rows that moved by the length of their change, ties by id."""
    return _falling(evidence.l2_V, evidence.moved_V)


def by_cosine(evidence: Evidence) -> Tensor:
    """Order the rows that moved by how far they turned, 1 - cosine, ties by id."""
    before_VD, after_VD = evidence.pair()
    turned_V = 1.0 - torch.cosine_similarity(before_VD, after_VD, dim=1)
    return _falling(turned_V.double().cpu(), evidence.moved_V)


def by_gradient(evidence: Evidence) -> Tensor:
    """Order the rows that have a gradient by its length, ties by id."""
    assert evidence.gradient_V is not None
    return _falling(evidence.gradient_V, evidence.gradient_V > 0)


def by_frequency(evidence: Evidence) -> Tensor:
    """Order the rows seen in tuning by their count, ties by id."""
    counts_V = _counts(evidence)
    return _falling(counts_V, counts_V > 0)


def template_tokens(evidence: Evidence) -> Tensor:
    """Take the tokens of the prompt outside the sentence, by their count, ties by id."""
    return _falling(_counts(evidence), _template(evidence))


def ks_without_template(evidence: Evidence) -> Tensor:
    """Order as `by_ks` does, and leave out the tokens of the prompt outside the sentence."""
    order = by_ks(evidence)
    return order[~_template(evidence)[order]]


def frequency_matched(evidence: Evidence) -> Tensor:
    """For each row of the KS ticket of k draw another token that is about as frequent.

    The ticket's rows take turns, the most frequent first: each draws among the `MATCHES` unused tokens
    outside the ticket whose log count is nearest to its own.
    """
    assert evidence.k is not None
    counts, ticket = _counts(evidence), by_ks(evidence)[: evidence.k]
    free = (counts > 0).index_fill(0, ticket, False).nonzero().squeeze(-1).tolist()
    log_counts = counts.double().log1p()
    draw = np.random.default_rng(evidence.seed)
    chosen: list[int] = []
    for row in sorted(ticket.tolist(), key=lambda one: (-int(counts[one]), one)):
        if not free:
            break
        free.sort(key=lambda one: (abs(float(log_counts[one] - log_counts[row])), one))
        chosen.append(free.pop(int(draw.integers(min(MATCHES, len(free))))))
    return torch.tensor(chosen, dtype=torch.int64)


def by_chance(evidence: Evidence) -> Tensor:
    """Shuffle the rows seen in tuning, or all rows where rows are no tokens, by the seed."""
    counts_V = evidence.counts_V
    if counts_V is None:
        assert evidence.before_VD is not None
        eligible = torch.arange(len(evidence.before_VD))
    else:
        eligible = counts_V.cpu().nonzero().squeeze(-1)
    order = np.random.default_rng(evidence.seed).permutation(len(eligible))
    return eligible[torch.from_numpy(order)]


def only_bos(evidence: Evidence) -> Tensor:
    """Take the token that begins every text."""
    if evidence.bos_id is None:
        raise TicketError("the tokenizer has no token that begins a text (BOS)")
    return torch.tensor([evidence.bos_id])


def as_published(evidence: Evidence) -> Tensor:
    """Take the paper's own ticket for these languages."""
    if evidence.published_ids is None:
        raise TicketError("the paper published no ticket for this tokenizer and these languages")
    return torch.tensor(evidence.published_ids)


def _counts(evidence: Evidence) -> Tensor:
    assert evidence.counts_V is not None
    return evidence.counts_V.cpu()


def _template(evidence: Evidence) -> Tensor:
    assert evidence.template_V is not None
    return evidence.template_V.cpu()


def _falling(values_V: Tensor, eligible_V: Tensor) -> Tensor:
    """Return the eligible rows, the largest value first, ties by id."""
    rows = eligible_V.cpu().nonzero().squeeze(-1).numpy()
    return torch.from_numpy(rows[np.lexsort((rows, -values_V.numpy(force=True)[rows]))])


CRITERIA: Registry[Criterion] = Registry(
    "criterion",
    {
        "ks": Criterion(
            "Kolmogorov-Smirnov test of each row before and after tuning (KS-Lottery); k rows, or alpha",
            by_ks,
            needs=frozenset({"tuned"}),
            takes_alpha=True,
            tokens_only=False,
        ),
        "l2": Criterion(
            "length of a row's change in tuning",
            by_l2,
            needs=frozenset({"tuned"}),
            tokens_only=False,
        ),
        "cosine": Criterion(
            "how far a row turned in tuning, 1 - cosine",
            by_cosine,
            needs=frozenset({"tuned"}),
            tokens_only=False,
        ),
        "gradient": Criterion(
            "length of a row's gradient in the base, over one pass of the tuning text; nothing is tuned",
            by_gradient,
            needs=frozenset({"gradient"}),
            tokens_only=False,
        ),
        "frequency": Criterion(
            "how often a token stands at an input position in tuning",
            by_frequency,
            needs=frozenset({"counts"}),
        ),
        "template": Criterion(
            "the tokens of the prompt outside the sentence; all of them, or the k most frequent",
            template_tokens,
            needs=frozenset({"counts", "template"}),
            own_size=True,
        ),
        "ks_without_template": Criterion(
            "as ks, without the tokens of the prompt outside the sentence",
            ks_without_template,
            needs=frozenset({"tuned", "template"}),
            takes_alpha=True,
        ),
        "frequency_matched": Criterion(
            "control: for each row of the KS ticket another token about as frequent",
            frequency_matched,
            needs=frozenset({"tuned", "counts", "seed"}),
        ),
        "random": Criterion(
            "control: a random choice among the tokens seen in tuning",
            by_chance,
            needs=frozenset({"counts", "seed"}),
            tokens_only=False,
        ),
        "bos": Criterion(
            "control: the token that begins every text, alone",
            only_bos,
            needs=frozenset({"tokenizer"}),
            own_size=True,
        ),
        "published": Criterion(
            "the tickets of the paper (its Table 11), for LLaMA's tokenizer and six languages from English",
            as_published,
            needs=frozenset({"tokenizer", "languages"}),
            own_size=True,
        ),
    },
)
