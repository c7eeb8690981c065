"""The two-sample Kolmogorov-Smirnov test of every row of two matrices at once.

Before and after are paired, so the p-values here rank rows; they are no evidence about independent samples.

Shapes: V rows (vocabulary), D values a row (model width), written n where it is a sample size, R rows of
one chunk.
Source: Massey 1951; used row-wise by KS-Lottery (arXiv:2402.02801, section 3).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Heights = NDArray[np.int64] | Tensor

CPU_CHUNK_BYTES = 2**20
"""Sort keys in flight on a CPU: what stays in its caches, and is not asked of the system anew."""
GPU_CHUNK_BYTES = 256 * 2**20
"""Sort keys in flight on a GPU: enough rows to keep it busy."""

INT32_MAX = 2**31 - 1


def moved_rows(before_VD: Tensor, after_VD: Tensor) -> Tensor:
    """Tell which rows have moved: those of which any bit differs.

    A permuted row has moved though its distance is 0, and so has one in which 0.0 became -0.0.

    Args:
        before_VD: Rows of the base model, float32, shape (V, D).
        after_VD: The same rows after tuning, float32, shape (V, D).

    Returns:
        bool, shape (V,), on the device of the rows.

    Raises:
        ValueError: If shapes, dtypes or devices differ or a value is not finite.
    """
    _check_form(before_VD, after_VD)
    moved_V = torch.zeros(len(before_VD), dtype=torch.bool, device=before_VD.device)
    rows = _rows_per_chunk(before_VD, None)
    for start in range(0, len(before_VD), rows):
        before_RD, after_RD = before_VD[start : start + rows], after_VD[start : start + rows]
        _check_finite("before", before_RD, start)
        _check_finite("after", after_RD, start)
        differ_RD = before_RD.view(torch.int32) ^ after_RD.view(torch.int32)
        moved_V[start : start + rows] = differ_RD.any(dim=1)
    return moved_V


def ks_heights(before_VD: Tensor, after_VD: Tensor, *, chunk_bytes: int | None = None) -> Tensor:
    """Two-sample KS statistic of every row, as the integer h of h / D.

    Both values of a pair are sorted as 64-bit keys: the float's bits in an order-preserving form, then the
    label of its sample. A running sum of +1 and -1 over the sorted labels, read behind the last of equal
    values, is the difference of the two empirical distributions times D. Rows that did not move are
    skipped, the others are taken a chunk at a time.

    Args:
        before_VD: Rows of the base model, float32, shape (V, D).
        after_VD: The same rows after tuning, float32, shape (V, D).
        chunk_bytes: Bound of the sort keys in flight (one row at least); the test needs about twice as
            much. None takes what is fast on the device. It never changes a result.

    Returns:
        int64, shape (V,), on the device of the rows; 0 for rows that did not move.

    Raises:
        ValueError: If shapes, dtypes or devices differ or a value is not finite.
    """
    moved_V = moved_rows(before_VD, after_VD)
    heights_V = torch.zeros(len(before_VD), dtype=torch.int64, device=before_VD.device)
    rows = _rows_per_chunk(before_VD, chunk_bytes)
    for chunk_R in torch.split(moved_V.nonzero().squeeze(-1), rows):
        heights_V[chunk_R] = _heights(before_VD[chunk_R], after_VD[chunk_R])
    return heights_V


def ks_distances(before_VD: Tensor, after_VD: Tensor) -> Tensor:
    """Two-sample Kolmogorov-Smirnov distance of every row.

    Args:
        before_VD: Rows of the base model, float32, shape (V, D).
        after_VD: The same rows after tuning, float32, shape (V, D).

    Returns:
        In [0, 1], float64, shape (V,), on the device of the rows.

    Raises:
        ValueError: If shapes, dtypes or devices differ or a value is not finite.
    """
    return ks_heights(before_VD, after_VD).to(torch.float64) / before_VD.shape[1]


def _check_form(before_VD: Tensor, after_VD: Tensor) -> None:
    if before_VD.shape != after_VD.shape or before_VD.ndim != 2 or not before_VD.shape[1]:
        raise ValueError(
            "before and after must be matrices of one shape, got "
            f"{tuple(before_VD.shape)} and {tuple(after_VD.shape)}"
        )
    for name, matrix_VD in (("before", before_VD), ("after", after_VD)):
        if matrix_VD.dtype != torch.float32:
            raise ValueError(f"{name} must be float32, got {matrix_VD.dtype}")
    if before_VD.device != after_VD.device:
        raise ValueError(f"before is on {before_VD.device}, after on {after_VD.device}")


def _check_finite(name: str, rows_RD: Tensor, first_row: int) -> None:
    # A finite sum proves finite values at a tenth of the cost of a test of each; only its failure does not.
    if rows_RD.sum().isfinite():
        return
    bad = (~rows_RD.isfinite()).any(dim=1).nonzero()
    if len(bad):
        raise ValueError(f"{name} has a value that is not finite in row {first_row + int(bad[0])}")


def _rows_per_chunk(matrix_VD: Tensor, chunk_bytes: int | None) -> int:
    if chunk_bytes is None:
        chunk_bytes = CPU_CHUNK_BYTES if matrix_VD.device.type == "cpu" else GPU_CHUNK_BYTES
    key_bytes = 2 * 8 * matrix_VD.shape[1]
    return max(1, chunk_bytes // key_bytes)


def _heights(before_RD: Tensor, after_RD: Tensor) -> Tensor:
    rows, width = before_RD.shape
    keys = torch.empty(rows, 2 * width, dtype=torch.int64, device=before_RD.device)
    keys[:, :width] = _ordered_bits(before_RD)
    keys[:, width:] = _ordered_bits(after_RD)
    keys *= 2
    keys[:, width:] += 1
    keys = _sorted(keys)
    difference = (keys & 1).to(torch.int32).mul_(-2).add_(1).cumsum(dim=1, dtype=torch.int32)
    keys >>= 1
    difference[:, :-1] *= keys[:, 1:] != keys[:, :-1]
    return difference.abs_().amax(dim=1).to(torch.int64)


def _ordered_bits(values: Tensor) -> Tensor:
    """Map floats to int32 so that order and equality are kept; -0.0 and 0.0 are one value."""
    # In integers throughout: float arithmetic would lose subnormal values where they are flushed to zero.
    bits = values.detach().view(torch.int32)
    negative = bits >> 31  # -1 where the sign bit is set, else 0
    return ((bits & INT32_MAX) ^ negative) - negative


def _sorted(keys: Tensor) -> Tensor:
    """Sort each row; on a CPU by NumPy, whose vectorized sort takes a tenth of PyTorch's time."""
    if keys.device.type != "cpu":
        return keys.sort(dim=1).values
    keys.numpy().sort(axis=1)
    return keys


def exact_p_values(heights: Heights, n: int) -> Floats:
    """Exact two-sided p-values of h / n for two samples of n values.

    p = 2 sum_{j>=1} (-1)^(j+1) C(2n, n - jh) / C(2n, n). The ratios C(2n, n - m) / C(2n, n) are a running
    product over m, right to about n roundings where differences of `gammaln` are not. p depends on h alone,
    so each distinct h is computed once.

    Args:
        heights: h, integers from 0 to n, shape (V,).
        n: Size of each sample.

    Returns:
        float64, shape (V,); 1 where h = 0.

    Raises:
        ValueError: If a height lies outside 0 to n.

    Source: Gnedenko and Korolyuk 1951; equals `scipy.stats.ks_2samp(method="exact")`.
    """
    distinct, where = np.unique(_checked(heights, n), return_inverse=True)
    m = np.arange(n, dtype=np.float64)
    ratios = np.cumprod((n - m) / (n + m + 1))  # at m: C(2n, n - m - 1) / C(2n, n)
    values = np.ones(len(distinct), dtype=np.float64)
    for index, height in enumerate(distinct):
        if height > 0:
            terms = ratios[height - 1 :: height]
            values[index] = 2.0 * (terms[0::2].sum() - terms[1::2].sum())
    return np.clip(values, 0.0, 1.0)[where]


def asymptotic_p_values(heights: Heights, n: int) -> Floats:
    """Asymptotic two-sided p-values, as `scipy.stats.ks_2samp(method="asymp")` has them.

    Args:
        heights: h, integers from 0 to n, shape (V,).
        n: Size of each sample.

    Returns:
        float64, shape (V,); up to 1.2e-2 off the exact ones.

    Raises:
        ValueError: If a height lies outside 0 to n.
    """
    # A second to import, and the desk and the workers import this module.
    from scipy import stats

    distinct, where = np.unique(_checked(heights, n), return_inverse=True)
    found = stats.kstwo.sf(distinct / n, np.round(n / 2))
    return np.clip(np.asarray(found, dtype=np.float64), 0.0, 1.0)[where]


def _checked(heights: Heights, n: int) -> NDArray[np.int64]:
    found = heights.numpy(force=True) if isinstance(heights, Tensor) else np.asarray(heights)
    if found.size and (found.min() < 0 or found.max() > n):
        raise ValueError(f"heights must lie in 0 to {n}, got {found.min()} to {found.max()}")
    return found.astype(np.int64, copy=False)


def benjamini_hochberg_count(p_values: Floats, alpha: float) -> int:
    """Count the rows whose p-value, adjusted by Benjamini and Hochberg, is at most alpha.

    Descriptive only: before and after are paired samples and rows are not independent, so no rate of false
    discoveries is controlled. Say so where the count is shown.

    Args:
        p_values: One a row, shape (V,).
        alpha: Level, in [0, 1].

    Returns:
        How many rows; 0 of no rows.

    Source: Benjamini and Hochberg 1995, by `scipy.stats.false_discovery_control`.
    """
    from scipy import stats

    if not len(p_values):
        return 0
    return int((stats.false_discovery_control(p_values) <= alpha).sum())
