"""How often 95 % intervals hold the truth, and how often equal systems are ranked apart.

    OMP_NUM_THREADS=1 python perf/coverage.py [--experiments 20000] [--boards 10000]
        [--resamples 300] [--json]

Systems with known true scores: score of seed r on sentence n = mean + seed effect + sentence effect +
interaction, all normal. A setting says which share of the variance of the mean each has. The intervals are
those of `ksl_bench.significance`, by its own functions, on experiments stacked along a first axis.

Shapes: E experiments, M systems of a leaderboard, R seeds, N sentences, B resamples.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ksl_bench.significance.ranks import holm
from ksl_bench.significance.resampling import resample
from ksl_bench.significance.variances import (
    Variances,
    guarded_p_value,
    half_width,
    p_value,
    split,
    t_quantile,
)

Floats = NDArray[np.float64]

SHARES = {
    "seeds only": (1.0, 0.0, 0.0),
    "seeds": (0.9, 0.1, 0.0),
    "mostly seeds": (0.7, 0.3, 0.0),
    "balanced": (0.4, 0.4, 0.2),
    "mostly sentences": (0.15, 0.7, 0.15),
    "sentences only": (0.0, 1.0, 0.0),
    "interaction": (0.1, 0.2, 0.7),
}
"""Parts that seeds, sentences and their interaction have in the variance of a mean."""

SYSTEMS = 6
CHUNK = 250


@dataclass(frozen=True)
class Coverage:
    """Per cent of experiments whose 95 % interval held the true value."""

    shares: str
    seeds: int
    sentences: int
    percentile: float
    """Percentile bootstrap over seeds, of the paired difference; so the next three."""
    t_over_seeds: float
    sentences_alone: float
    satterthwaite: float
    """With the textbook's degrees of freedom."""
    mean: float
    """Ours, of one system."""
    paired: float
    unpaired: float


@dataclass(frozen=True)
class Family:
    """Per cent of leaderboards of equal systems that show any as better, Holm-corrected at 5 %."""

    shares: str
    seeds: int
    sentences: int
    satterthwaite: float
    """From p values with the textbook's degrees of freedom."""
    single: float
    """From the p values of our intervals."""
    guarded: float
    """From those that the ranks use."""


def draw_scores(
    draw: np.random.Generator, size: tuple[int, ...], shares: tuple[float, float, float], n: int
) -> Floats:
    """Return scores of sentences, (..., R, N), whose mean over both has variance 1 and truth 0."""
    lead, seeds = size[:-1], size[-1]
    by_seed, by_sentence, both = (np.sqrt(share) for share in shares)
    scores = draw.normal(size=(*size, n)) * (both * np.sqrt(seeds * n))
    scores += draw.normal(size=(*size, 1)) * (by_seed * np.sqrt(seeds))
    return scores + draw.normal(size=(*lead, 1, n)) * (by_sentence * np.sqrt(n))


def resampled(scores_RN: Floats, counts_BN: Floats) -> Floats:
    """Return means of resamples, (..., B, R)."""
    n = scores_RN.shape[-1]
    flat = scores_RN.reshape(-1, n) @ (counts_BN.T / n)
    return np.swapaxes(flat.reshape(*scores_RN.shape[:-1], len(counts_BN)), -1, -2)


def textbook(variances: Variances) -> tuple[Floats, Floats]:
    """Return variance and degrees of freedom by Satterthwaite's formula as it stands."""
    total = variances.total
    return total, total**2 / sum(part**2 / df for part, df in variances.parts)


def unpaired_parts(first: Variances, second: Variances, gap_B: Floats, n: int) -> Variances:
    """Join two systems' parts as `intervals._unpaired` does."""
    joint = split(np.zeros((*gap_B.shape[:-1], 1)), gap_B[..., None], n)
    interaction = first.interaction + second.interaction
    return replace(joint, seeds=(*first.seeds, *second.seeds), interaction=interaction)


def held(estimate_E: Floats, half_E: Floats) -> int:
    return int((np.abs(estimate_E) <= half_E).sum())


def percentile_held(gaps_ER: Floats, draw: np.random.Generator) -> int:
    seeds = gaps_ER.shape[1]
    means_EB = gaps_ER[:, draw.integers(seeds, size=(1000, seeds))].mean(axis=2)
    low, high = np.quantile(means_EB, (0.025, 0.975), axis=1)
    return int(((low <= 0) & (high >= 0)).sum())


def cover(
    shares: str, seeds: int, n: int, options: argparse.Namespace, draw: np.random.Generator
) -> Coverage:
    counts_BN = resample(n, options.resamples).counts_BN
    hits = np.zeros(7)
    for start in range(0, options.experiments, CHUNK):
        size = min(CHUNK, options.experiments - start)
        scores = draw_scores(draw, (2, size, seeds), SHARES[shares], n)
        first_ER, second_ER = scores.mean(axis=-1)
        first_EBR, second_EBR = resampled(scores, counts_BN)
        gaps_ER = first_ER - second_ER
        gap_E = gaps_ER.mean(axis=1)
        paired = split(gaps_ER, first_EBR - second_EBR, n)
        first, second = split(first_ER, first_EBR, n), split(second_ER, second_EBR, n)
        apart = unpaired_parts(first, second, (first_EBR - second_EBR).mean(axis=-1), n)
        spread_E, sentences_E = paired.seeds[0][0], paired.sentences
        total_E, df_E = textbook(paired)
        hits += [
            percentile_held(gaps_ER, draw),
            held(gap_E, t_quantile(seeds - 1, 0.05) * np.sqrt(spread_E)),
            held(gap_E, t_quantile(n - 1, 0.05) * np.sqrt(sentences_E)),
            held(gap_E, t_quantile(df_E, 0.05) * np.sqrt(total_E)),
            held(first_ER.mean(axis=1), half_width(first, 0.05)),
            held(gap_E, half_width(paired, 0.05)),
            held(gap_E, half_width(apart, 0.05)),
        ]
    return Coverage(shares, seeds, n, *(100 * hits / options.experiments).tolist())


def family(
    shares: str, seeds: int, n: int, options: argparse.Namespace, draw: np.random.Generator
) -> Family:
    counts_BN = resample(n, options.resamples).counts_BN
    wrong = np.zeros(3)
    for start in range(0, options.boards, CHUNK):
        size = min(CHUNK, options.boards - start)
        scores = draw_scores(draw, (SYSTEMS, size, seeds), SHARES[shares], n)
        means_MER, drawn_MEBR = scores.mean(axis=-1), resampled(scores, counts_BN)
        p_values: list[tuple[Floats, Floats, Floats]] = []
        for i, j in combinations(range(SYSTEMS), 2):
            gaps_ER = means_MER[i] - means_MER[j]
            parts, gap_E = split(gaps_ER, drawn_MEBR[i] - drawn_MEBR[j], n), gaps_ER.mean(axis=1)
            total_E, df_E = textbook(parts)
            plain = p_value(gap_E, Plain((), total_E, 1, np.zeros(()), df_E))
            p_values.append((plain, p_value(gap_E, parts), guarded_p_value(gap_E, parts)))
        p_3EP = np.array(p_values).transpose(1, 2, 0)
        wrong += [sum(bool((holm(p_P) < 0.05).any()) for p_P in p_EP) for p_EP in p_3EP]
    return Family(shares, seeds, n, *(100 * wrong / options.boards).tolist())


@dataclass(frozen=True, eq=False)
class Plain(Variances):
    """One variance with degrees of freedom that are given."""

    df: Floats

    @property
    def degrees_of_freedom(self) -> Floats:
        """What was given."""
        return self.df


def table(coverages: list[Coverage], families: list[Family]) -> str:
    lines = [
        "coverage of 95 % intervals, %",
        f"{'variance by':<18}{'R':>2}{'N':>5}  percentile  t seeds  sentences  Satterthw."
        "  | ours: mean  paired  unpaired",
    ]
    lines += [
        f"{one.shares:<18}{one.seeds:>2}{one.sentences:>5}{one.percentile:>12.1f}{one.t_over_seeds:>9.1f}"
        f"{one.sentences_alone:>11.1f}{one.satterthwaite:>12.1f}  |{one.mean:>11.1f}{one.paired:>8.1f}"
        f"{one.unpaired:>10.1f}"
        for one in coverages
    ]
    lines += [
        "",
        f"leaderboards of {SYSTEMS} equal systems with any false 'better', %",
        f"{'variance by':<18}{'R':>2}{'N':>5}  Satterthw.  | ours: single  guarded (ranks)",
    ]
    lines += [
        f"{one.shares:<18}{one.seeds:>2}{one.sentences:>5}{one.satterthwaite:>12.1f}  |{one.single:>13.1f}"
        f"{one.guarded:>17.1f}"
        for one in families
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=20_000)
    parser.add_argument("--boards", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in ("experiments", "boards", "resamples"):
        if getattr(options, name) < 2:
            parser.error(f"--{name} must be >= 2, got {getattr(options, name)}")
    started = time.perf_counter()
    draw = np.random.default_rng(20261123)
    coverages = [
        cover(shares, seeds, n, options, draw)
        for shares in SHARES
        for seeds in (3, 5)
        for n in (100, 400)
    ]
    families = [family(shares, seeds, 100, options, draw) for shares in SHARES for seeds in (3, 5)]
    if options.json:
        report: dict[str, Any] = {
            "options": vars(options),
            "seconds": time.perf_counter() - started,
            "versions": {name: version(name) for name in ("ksl-bench", "numpy", "scipy")},
            "coverage": [asdict(one) for one in coverages],
            "family": [asdict(one) for one in families],
        }
        print(json.dumps(report, indent=2))
    else:
        print(table(coverages, families))
        print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
