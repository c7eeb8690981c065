"""The parts of a variance, and the t distribution that fits their sum.

The score of seed r on sentence n is thought of as a mean, an effect of the seed, an effect of the sentence
and one of both together (the interaction). The mean over R seeds and N sentences then has the variance

    seeds / R + sentences / N + interaction / (R N).

The spread of the seeds' scores, and the spread over resampled sentences of their mean, both contain the
last term: it is taken off once. Everything here works on arrays of any one shape, so that simulations can
use it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ksl_bench.significance.resampling import centred

Floats = NDArray[np.float64]

SMALLEST_P = 1e-30
_DOUBT = 0.25
_HALVINGS = 36


@dataclass(frozen=True, slots=True, eq=False)
class Variances:
    """Of a mean over seeds, or of a difference of such means; in squared points of the metric."""

    seeds: tuple[tuple[Floats, int], ...]
    """Variance and its degrees of freedom, for each set of seeds that chance drew apart from the others: one
    for a system or a pair on common seeds, two for a pair without; none where seeds say nothing."""
    sentences: Floats
    """Bootstrap variance of the mean over seeds."""
    sentence_freedom: int
    """Sentences or documents, less one."""
    interaction: Floats
    """What both hold."""

    @property
    def parts(self) -> tuple[tuple[Floats, int], ...]:
        """Independent parts of the variance with their degrees of freedom; they add up to `total`."""
        if not self.seeds:
            return ((self.sentences, self.sentence_freedom),)
        rest = np.maximum(self.sentences - self.interaction, 0.0)
        return (*self.seeds, (rest, self.sentence_freedom))

    @property
    def total(self) -> Floats:
        """Variance of the mean or difference."""
        return np.asarray(sum(variance for variance, _ in self.parts), dtype=np.float64)

    @property
    def degrees_of_freedom(self) -> Floats:
        """Degrees of freedom of `total`, never fewer than the least of its parts.

        Satterthwaite's formula takes the estimated parts for the true ones. Three seeds that fall close
        together by chance then not only make the variance small but the degrees of freedom large as well. So
        here, and only here, the seeds' part stands at the upper end of its one-sided 75 % interval.

        Source: Satterthwaite 1946 (10.2307/3002019); why the upper end: docs/statistics.md.
        """
        least = float(min(freedom for _, freedom in self.parts))
        if not self.seeds:
            return np.full(self.total.shape, least)
        doubted = doubt(_satterthwaite(self.seeds))
        raised = [(variance * doubted, freedom) for variance, freedom in self.seeds]
        return np.maximum(_satterthwaite((*raised, self.parts[-1])), least)


def _satterthwaite(parts: Sequence[tuple[Floats, int]]) -> Floats:
    """Return the degrees of freedom of a sum; the least of the parts' where nothing varies."""
    total = np.asarray(sum(variance for variance, _ in parts))
    spread = np.asarray(sum(variance**2 / freedom for variance, freedom in parts))
    known = spread > 0
    least = float(min(freedom for _, freedom in parts))
    return np.where(known, total**2 / np.where(known, spread, 1.0), least)


def doubt(freedom: ArrayLike) -> Floats:
    """Return by how much a variance may exceed its estimate: upper end of the one-sided 75 % interval."""
    freedoms = np.asarray(freedom, dtype=np.float64)
    return freedoms / special.chdtri(freedoms, 1.0 - _DOUBT)


def split(scores_R: Floats, resampled_BR: Floats, groups: int) -> Variances:
    """Estimate the parts from the scores of one system, or from differences by seed.

    Args:
        scores_R: On the whole test set, by seed, (..., R).
        resampled_BR: On each resample of the sentences, the same for all seeds, (..., B, R).
        groups: Sentences or documents that were drawn.

    Returns:
        Arrays of the leading axes; without any, of no axes. With one seed there is no seed part.
    """
    resampled_RB = np.swapaxes(resampled_BR, -1, -2)
    return split_centred(scores_R, centred(resampled_RB), groups)


def split_centred(scores_R: Floats, centred_RB: Floats, groups: int) -> Variances:
    """Return what `split` does, of resamples that are `centred`, (..., R, B): as are differences of such."""
    seeds, resamples = centred_RB.shape[-2:]
    # A bootstrap variance is that of the groups at hand, n of them, not of n - 1.
    scale = groups / (groups - 1) / (resamples - 1)
    mean_B = centred_RB.mean(axis=-2)
    sentences = np.asarray(scale * np.einsum("...b,...b->...", mean_B, mean_B))
    if seeds == 1:
        return Variances((), sentences, groups - 1, np.zeros_like(sentences))
    by_seed = scale / seeds * np.einsum("...rb,...rb->...", centred_RB, centred_RB)
    # By seed: sentences / N + interaction / N. Of the mean: sentences / N + interaction / (R N).
    interaction = np.maximum((by_seed - sentences) / (seeds - 1), 0.0)
    spread = np.asarray(scores_R.var(axis=-1, ddof=1) / seeds)
    return Variances(((spread, seeds - 1),), sentences, groups - 1, interaction)


def t_quantile(freedom: ArrayLike, alpha: ArrayLike) -> Floats:
    """Return the t that is exceeded, on either side, with probability alpha."""
    freedoms = np.asarray(freedom, dtype=np.float64)
    return -special.stdtrit(freedoms, np.asarray(alpha, dtype=np.float64) / 2.0)


def half_width(variances: Variances, alpha: float) -> Floats:
    """Return half the width of the 1 - alpha interval: a t quantile times the standard error."""
    quantile = t_quantile(variances.degrees_of_freedom, alpha)
    return np.asarray(quantile * np.sqrt(variances.total))


def p_value(value: ArrayLike, variances: Variances) -> Floats:
    """Return the two-sided p of no difference: below alpha just where the 1 - alpha interval excludes 0."""
    value, total = np.asarray(value, dtype=np.float64), variances.total
    t = np.abs(value) / np.sqrt(np.where(total > 0, total, 1.0))
    p = 2.0 * special.stdtr(variances.degrees_of_freedom, -t)
    return np.where(total > 0, p, np.where(value == 0, 1.0, SMALLEST_P))


def guarded_p_value(value: ArrayLike, variances: Variances) -> Floats:
    """Return a two-sided p that holds far out in the tail, where corrected families of tests look.

    The p at which value^2 = sum of t(p, df_i)^2 * part_i, with a t quantile for every part. Unlike one t
    with Satterthwaite's degrees of freedom this never rejects a true null hypothesis too often, at any level,
    where the parts are independent; the price is power.

    Returns:
        At least SMALLEST_P, same shape as `value`.

    Source: Banerjee 1960 (Sankhya 22, 357-358).
    """
    square = np.asarray(value, dtype=np.float64) ** 2
    low, high = np.full(square.shape, np.log(SMALLEST_P)), np.zeros(square.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        alpha = np.exp(middle)
        needed = sum(part * t_quantile(df, alpha) ** 2 for part, df in variances.parts)
        inside = square <= needed
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(square == 0, 1.0, np.exp((low + high) / 2.0))
