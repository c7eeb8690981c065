"""The two-sample Kolmogorov-Smirnov test of every row of two matrices at once.

Shapes: V rows (vocabulary), D values a row (model width), written n where it is a sample size.
Source: Massey 1951; used row-wise by KS-Lottery (arXiv:2402.02801, section 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

Floats = NDArray[np.float64]

CHUNK_BYTES = 64 * 2**20
"""Bound of the sort keys in flight; the test needs a few times as much."""


def _check(before_VD: Tensor, after_VD: Tensor) -> None:
    if before_VD.shape != after_VD.shape or before_VD.ndim != 2:
        raise ValueError(
            "before and after must be matrices of one shape, got "
            f"{tuple(before_VD.shape)} and {tuple(after_VD.shape)}"
        )
    for name, matrix in (("before", before_VD), ("after", after_VD)):
        if matrix.dtype != torch.float32:
            raise ValueError(f"{name} must be float32, got {matrix.dtype}")
        bad = (~matrix.isfinite()).any(dim=1).nonzero()
        if len(bad):
            raise ValueError(f"{name} has a value that is not finite in row {int(bad[0])}")


def moved_rows(before_VD: Tensor, after_VD: Tensor) -> Tensor:
    """Tell which rows have moved: those of which any bit differs.

    A permuted row has moved though its distance is 0.

    Args:
        before_VD: float32, shape (V, D).
        after_VD: float32, shape (V, D).

    Returns:
        bool, shape (V,).
    """
    return (before_VD.view(torch.int32) != after_VD.view(torch.int32)).any(dim=1)


def ks_heights(before_VD: Tensor, after_VD: Tensor, *, chunk_bytes: int = CHUNK_BYTES) -> Tensor:
    """Two-sample KS statistic of every row, as the integer h of h / D.

    Both values of a pair are sorted as one 64-bit key: the float's bits in an order-preserving form, then
    the label of its sample. A running sum of +1 and -1 over the sorted labels, read behind the last of
    equal values, is the difference of the two empirical distributions times D.

    Args:
        before_VD: Rows of the base model, float32, shape (V, D).
        after_VD: The same rows after tuning, float32, shape (V, D).
        chunk_bytes: Bound of the sort keys in flight.

    Returns:
        int64, shape (V,), on the device of the rows; 0 for rows that did not move.

    Raises:
        ValueError: If shapes or dtypes differ or a value is not finite.
    """
    _check(before_VD, after_VD)
    width = before_VD.shape[1]
    heights_V = torch.zeros(len(before_VD), dtype=torch.int64, device=before_VD.device)
    moved = moved_rows(before_VD, after_VD).nonzero().squeeze(-1)
    rows = max(1, chunk_bytes // (16 * width))
    for chunk in torch.split(moved, rows):
        heights_V[chunk] = _heights(before_VD[chunk], after_VD[chunk])
    return heights_V


def _ordered_bits(values: Tensor) -> Tensor:
    """Map floats to int64 so that order and equality are kept; -0.0 equals 0.0."""
    bits = (values + 0.0).view(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)


def _heights(before_RD: Tensor, after_RD: Tensor) -> Tensor:
    keys = torch.cat([_ordered_bits(before_RD) * 2, _ordered_bits(after_RD) * 2 + 1], dim=1)
    keys = _sorted(keys)
    step = 1 - 2 * (keys & 1).to(torch.int32)
    difference = step.cumsum(dim=1, dtype=torch.int32).abs_()
    keys >>= 1
    difference[:, :-1].masked_fill_(keys[:, 1:] == keys[:, :-1], 0)
    return difference.amax(dim=1).to(torch.int64)


def _sorted(keys: Tensor) -> Tensor:
    """Sort each row; on a CPU by NumPy, whose vectorized sort is several times PyTorch's."""
    if keys.device.type != "cpu":
        return keys.sort(dim=1).values
    keys.numpy().sort(axis=1)
    return keys


def ks_distances(before_VD: Tensor, after_VD: Tensor) -> Tensor:
    """Two-sample Kolmogorov-Smirnov distance of every row.

    Args:
        before_VD: Rows of the base model, float32, shape (V, D).
        after_VD: The same rows after tuning, float32, shape (V, D).

    Returns:
        In [0, 1], float64, shape (V,).

    Raises:
        ValueError: If shapes or dtypes differ or a value is not finite.
    """
    return ks_heights(before_VD, after_VD).to(torch.float64) / before_VD.shape[1]


def exact_p_values(heights: NDArray[np.int64], n: int) -> Floats:
    """Exact two-sided p-values of h / n for two samples of n values.

    p = 2 sum_{j>=1} (-1)^(j+1) C(2n, n - jh) / C(2n, n). A function of h alone, so each distinct h is
    computed once. The ratios are products of n factors in logarithms (`log1p`), exact to the last digits
    also where `gammaln` of large arguments would cancel.

    Args:
        heights: h, shape (V,), 0 to n.
        n: Size of each sample.

    Returns:
        float64, shape (V,); 1 where h = 0.

    Source: Gnedenko and Korolyuk 1951; equals `scipy.stats.ks_2samp(method="exact")`.
    """
    distinct, where = np.unique(np.asarray(heights), return_inverse=True)
    values = np.array([_exact_p_value(int(height), n) for height in distinct], dtype=np.float64)
    return values[where]


def _exact_p_value(height: int, n: int) -> float:
    if height <= 0:
        return 1.0
    # From the outermost term inwards (Horner): each ratio of neighbours is a product of `height` factors.
    total = 0.0
    for j in range(n // height, 0, -1):
        upper = n - (j - 1) * height - np.arange(height, dtype=np.float64)
        lower = n + (j - 1) * height + 1 + np.arange(height, dtype=np.float64)
        ratio = float(np.exp(np.sum(np.log(upper) - np.log(lower))))
        total = ratio * (1.0 - total)
    return min(1.0, 2.0 * total)


def asymptotic_p_values(heights: NDArray[np.int64], n: int) -> Floats:
    """Asymptotic two-sided p-values, as `scipy.stats.ks_2samp(method="asymp")` has them.

    Args:
        heights: h, shape (V,).
        n: Size of each sample.

    Returns:
        float64, shape (V,); up to 1.2e-2 off the exact ones.
    """
    found: Any = stats.kstwo.sf(np.asarray(heights) / n, np.round(n / 2))
    return np.clip(np.asarray(found, dtype=np.float64), 0.0, 1.0)


def benjamini_hochberg_count(p_values: Floats, alpha: float) -> int:
    """Count the rows whose Benjamini-Hochberg adjusted p-value is below alpha.

    Descriptive: before and after are paired samples, so p-values rank rows and test nothing.
    """
    return int((stats.false_discovery_control(p_values) < alpha).sum())
