"""What a criterion may look at.

Shapes: V rows (vocabulary), D values a row (model width).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ksl_bench.lottery.kstest import Floats, exact_p_values, ks_heights, moved_rows

NORM_ROWS = 32
"""Rows whose change is held in float64 at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What a criterion may look at; what is derived is computed once, when it is asked for.

    The plan gives what the criterion says it needs, so criteria only assert that it is here.
    """

    before_VD: Tensor | None = None
    """Rows of the base model, float32; None where a criterion looks at counts alone."""
    after_VD: Tensor | None = None
    """The same rows after tuning, float32; None where nothing was tuned."""
    counts_V: Tensor | None = None
    """How often each token stands at an input position in tuning, int64."""
    gradient_V: Tensor | None = None
    """Length of the gradient of each row of the base, over one pass of the tuning text, float64."""
    template_V: Tensor | None = None
    """Whether a token stands in the prompt outside the sentence, bool."""
    bos_id: int | None = None
    """Token that begins every text, None where the tokenizer has none."""
    published_ids: tuple[int, ...] | None = None
    """The paper's ticket for these languages, None where there is none."""
    k: int | None = None
    """How many rows are asked for; only a control that is matched to a ticket of k looks."""
    seed: int = 0

    def pair(self) -> tuple[Tensor, Tensor]:
        """Return the rows before and after tuning, each of shape (V, D)."""
        assert self.before_VD is not None
        assert self.after_VD is not None
        return self.before_VD, self.after_VD

    @property
    def tuned(self) -> bool:
        """Whether there is a before and an after to compare."""
        return self.before_VD is not None and self.after_VD is not None

    @cached_property
    def moved_V(self) -> Tensor:
        """Whether any bit of a row has changed, bool, on the CPU."""
        return moved_rows(*self.pair()).cpu()

    @cached_property
    def heights_V(self) -> Tensor:
        """KS statistic of every row as the integer h of h / D, int64, on the CPU."""
        return ks_heights(*self.pair()).cpu()

    @cached_property
    def p_values_V(self) -> Floats:
        """Exact p-value of every row; before and after are paired, so it ranks and tests nothing."""
        before_VD, _ = self.pair()
        return exact_p_values(self.heights_V, before_VD.shape[1])

    @cached_property
    def l2_V(self) -> Tensor:
        """Length of every row's change, float64, on the CPU."""
        before_VD, after_VD = self.pair()
        # Written in place: small results kept between large temporaries would fragment the heap.
        norms_V = torch.zeros(len(before_VD), dtype=torch.float64, device=before_VD.device)
        for start in range(0, len(before_VD), NORM_ROWS):
            rows = slice(start, start + NORM_ROWS)
            change_RD = after_VD[rows].double() - before_VD[rows]
            norms_V[rows] = change_RD.square_().sum(dim=1).sqrt_()
        return norms_V.cpu()
