"""The KS test against SciPy's, row by row, and its p-values against integer arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ksl_bench.lottery.kstest import (
    asymptotic_p_values,
    benjamini_hochberg_count,
    exact_p_values,
    ks_distances,
    ks_heights,
    moved_rows,
)

WIDTHS = [8, 9, 64, 128, 1024]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_rows(width: int) -> tuple[Tensor, Tensor]:
    before = randn(6, width) * 0.02
    return before, before + randn(6, width, seed=1) * torch.logspace(-4, 0, 6)[:, None]


def tied_rows(width: int) -> tuple[Tensor, Tensor]:
    return (randn(6, width) * 2).round(), (randn(6, width, seed=1) * 2 + 0.5).round()


def constant_rows(width: int) -> tuple[Tensor, Tensor]:
    return torch.full((3, width), 0.5), torch.tensor([[0.25], [0.75], [0.5]]).expand(3, width)


def permuted_rows(width: int) -> tuple[Tensor, Tensor]:
    before = randn(4, width)
    return before, before[:, torch.randperm(width, generator=torch.Generator().manual_seed(2))]


def bf16_rows(width: int) -> tuple[Tensor, Tensor]:
    before, after = random_rows(width)
    return before.bfloat16().float(), after.bfloat16().float()


def signed_zeros(width: int) -> tuple[Tensor, Tensor]:
    signs = torch.where(randn(4, width) > 0, 1.0, -1.0)
    return signs * 0.0, torch.where(randn(4, width, seed=1) > 0.5, 1e-44, -0.0)


def wide_range(width: int) -> tuple[Tensor, Tensor]:
    scale = torch.logspace(-45, 38, width)
    return randn(4, width).sign() * scale, randn(4, width, seed=1).sign() * scale.flip(0)


KINDS = [
    random_rows,
    tied_rows,
    constant_rows,
    permuted_rows,
    bf16_rows,
    signed_zeros,
    wide_range,
]


def exact_by_integers(height: int, n: int) -> float:
    terms = ((-1) ** (j + 1) * comb(2 * n, n - j * height) for j in range(1, n // height + 1))
    return float(2 * Fraction(sum(terms), comb(2 * n, n)))


def scipy_exact(before: object, after: object) -> tuple[int, float]:
    """Return h and p by SciPy; by integers where its p of a tiny h rounds to above 1 and it gives up."""
    n = len(before)
    try:
        found = stats.ks_2samp(before, after, method="exact")
    except RuntimeWarning:
        height = round(stats.ks_2samp(before, after, method="asymp").statistic * n)
        assert height < n**0.5
        return height, exact_by_integers(height, n)
    return round(found.statistic * n), found.pvalue


def scipy_rows(before: Tensor, after: Tensor) -> tuple[list[int], list[float]]:
    pairs = [
        scipy_exact(one, other) for one, other in zip(before.numpy(), after.numpy(), strict=True)
    ]
    return [height for height, _ in pairs], [p for _, p in pairs]


def separated(height: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples of n values whose distance is height / n."""
    high = np.zeros(n)
    high[:height] = 1
    return np.zeros(n), high


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_equals_scipy(kind, width):
    before, after = kind(width)
    heights, p_values = scipy_rows(before, after)
    found = ks_heights(before, after)
    assert found.dtype == torch.int64
    assert found.tolist() == heights
    np.testing.assert_allclose(exact_p_values(found, width), p_values, rtol=1e-8, atol=1e-300)
    distances = ks_distances(before, after)
    assert distances.dtype == torch.float64
    assert distances.tolist() == [height / width for height in heights]


def test_rows_as_wide_as_a_large_model_equal_scipy():
    before, after = random_rows(4096)
    heights, p_values = scipy_rows(before, after)
    found = ks_heights(before, after)
    assert found.tolist() == heights
    np.testing.assert_allclose(exact_p_values(found, 4096), p_values, rtol=1e-8, atol=1e-300)


def test_a_row_has_moved_if_any_bit_differs():
    before = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0], [1.0, 2.0]])
    after = torch.tensor([[1.0, 2.0], [2.0, 1.0], [-0.0, 1.0], [1.0, 2.0000002]])
    assert moved_rows(before, after).tolist() == [False, True, True, True]
    assert ks_heights(before, after).tolist() == [0, 0, 0, 1]


def test_a_permuted_row_has_moved_though_its_distance_is_zero():
    before, after = permuted_rows(64)
    assert moved_rows(before, after).all()
    assert not ks_distances(before, after).any()


@pytest.mark.parametrize("chunk_bytes", [1, 16 * 64, 3 * 16 * 64, 2**30])
def test_chunks_do_not_change_results(chunk_bytes):
    before, after = randn(50, 64), randn(50, 64, seed=1)
    after[::3] = before[::3]
    whole = ks_heights(before, after)
    assert torch.equal(ks_heights(before, after, chunk_bytes=chunk_bytes), whole)
    assert not whole[::3].any()


def test_the_inputs_stay_as_they_are_and_may_be_strided_parameters():
    before, after = randn(64, 8), randn(64, 8, seed=1)
    kept = before.clone(), after.clone()
    expected = ks_heights(before.T.contiguous(), after.T.contiguous())
    found = ks_heights(torch.nn.Parameter(before).T, after.T)
    assert torch.equal(found, expected)
    assert torch.equal(before, kept[0])
    assert torch.equal(after, kept[1])


def test_subnormal_values_count_where_arithmetic_flushes_them():
    before, after = torch.zeros(1, 8), torch.full((1, 8), 1e-44)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal values")
    try:
        assert ks_heights(before, after).tolist() == [8]
    finally:
        torch.set_flush_denormal(False)


def test_finite_rows_whose_sum_overflows_are_finite():
    before = torch.full((2, 8), 3e38)
    assert ks_heights(before, -before).tolist() == [8, 8]


def test_a_matrix_without_rows_has_no_heights():
    assert ks_heights(torch.empty(0, 8), torch.empty(0, 8)).tolist() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["before", "after"])
def test_a_value_that_is_not_finite_names_its_matrix_and_row(name, value):
    matrices = {"before": randn(9000, 32), "after": randn(9000, 32, seed=1)}
    matrices[name][8765, 3] = value
    with pytest.raises(ValueError, match=f"^{name} has a value that is not finite in row 8765$"):
        ks_heights(matrices["before"], matrices["after"])


def test_an_unmoved_row_is_checked_too():
    before = randn(4, 8)
    before[2, 1] = float("nan")
    with pytest.raises(ValueError, match="row 2"):
        ks_heights(before, before.clone())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), r"one shape, got \(2, 3\) and \(2, 4\)"),
        (torch.zeros(3), torch.zeros(3), "must be matrices"),
        (torch.zeros(3, 0), torch.zeros(3, 0), "must be matrices"),
        (torch.zeros(2, 3).double(), torch.zeros(2, 3), "before must be float32"),
        (torch.zeros(2, 3), torch.zeros(2, 3).bfloat16(), r"after must be float32, got torch\.bf"),
        (torch.zeros(2, 3), torch.zeros(2, 3, device="meta"), "before is on cpu, after on meta"),
    ],
)
def test_what_is_no_pair_of_float32_matrices_is_refused(before, after, message):
    with pytest.raises(ValueError, match=message):
        ks_heights(before, after)
    with pytest.raises(ValueError, match=message):
        moved_rows(before, after)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 64, 1024])
def test_exact_p_values_equal_integer_arithmetic(n):
    heights = sorted({1, 2, 3, 7, n // 8, n // 4, n // 2, n - 1, n} & set(range(1, n + 1)))
    expected = np.array([exact_by_integers(height, n) for height in heights])
    found = exact_p_values(np.array(heights), n)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("n", [8, 100, 1000, 4096])
def test_exact_p_values_equal_scipy_down_to_1e_300(n):
    heights = np.unique(np.geomspace(1, n, 60).astype(np.int64))
    expected = np.array([scipy_exact(*separated(height, n))[1] for height in heights])
    found = exact_p_values(heights, n)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    seen = expected > 1e-300
    np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-8)


def test_the_smallest_p_values_are_there():
    p = exact_p_values(np.array([1650, 4096]), 4096)
    assert p[0] == pytest.approx(exact_by_integers(1650, 4096), rel=1e-10)
    assert 1e-300 < p[0] < 1e-290
    assert p[1] == 0.0  # 1e-2464 in truth


def test_p_values_fall_with_the_height_and_keep_the_order_of_rows():
    p = exact_p_values(torch.tensor([0, 30, 5, 30, 128]), 128)
    assert p[0] == 1.0
    assert p[1] == p[3]
    assert 1.0 > p[2] > p[1] > p[4] > 0.0
    everything = exact_p_values(np.arange(129), 128)
    assert (np.diff(everything) <= 0).all()


def test_the_critical_distance_at_the_five_percent_level():
    p = exact_p_values(np.arange(4097), 4096)
    critical = np.argmax(p < 0.05) / 4096
    assert critical == pytest.approx(1.36 * (2 / 4096) ** 0.5, rel=0.01)


@pytest.mark.parametrize("n", [8, 9, 128, 4096])
def test_asymptotic_p_values_equal_scipy(n):
    heights = np.unique(np.array([0, 1, 2, 5, n // 10, n // 4, n // 2, n]))
    expected = [stats.ks_2samp(*separated(one, n), method="asymp").pvalue for one in heights]
    np.testing.assert_allclose(asymptotic_p_values(heights, n), expected, rtol=1e-12)


@pytest.mark.parametrize("heights", [[-1], [9]])
def test_a_height_that_no_row_can_have_is_refused(heights):
    with pytest.raises(ValueError, match="heights must lie in 0 to 8"):
        exact_p_values(np.array(heights), 8)
    with pytest.raises(ValueError, match="heights must lie in 0 to 8"):
        asymptotic_p_values(torch.tensor(heights), 8)


def test_benjamini_hochberg_counts_as_in_the_paper_of_1995():
    """Their example: 15 p-values, four of which are rejected at .05."""
    p = np.array(
        [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
         0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    )  # fmt: skip
    assert benjamini_hochberg_count(p, 0.05) == 4
    assert benjamini_hochberg_count(np.empty(0), 0.05) == 0


def test_memory_is_bounded_by_the_chunks_not_the_matrix(peak_growth):
    before, after = randn(4000, 1024), randn(4000, 1024, seed=1)  # 16 MB each; all keys: 65 MB
    ks_heights(before[:100], after[:100])
    assert peak_growth(lambda: ks_heights(before, after)) < 24 * 2**20


@pytest.mark.gpu
def test_a_gpu_finds_the_same_heights():
    before, after = randn(300, 1024), randn(300, 1024, seed=1)
    after[::7] = before[::7]
    found = ks_heights(before.cuda(), after.cuda())
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), ks_heights(before, after))
