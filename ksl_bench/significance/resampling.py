"""Sentences drawn again, the same ones for all seeds and all systems.

A metric is given by sufficient statistics: the score of a corpus is a function of their sum over sentences.
A resample is then a vector of counts, and all resamples are one matrix product.

Shapes: R seeds, N sentences, G groups that are drawn (sentences, or documents), S statistics of a sentence,
B resamples.

Source: Koehn 2004 (W04-3250). Whole documents are drawn where they are known, for the sentences of one
depend on each other (Field and Welsh 2007, 10.1111/j.1467-9868.2007.00593.x).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ScoreFunction = Callable[[Floats], Floats]
"""From statistics summed over sentences, (..., S), to corpus scores, (...)."""

SEED = 12345
"""sacrebleu's, so that its draws are ours."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Which resamples these are: what was scored on one draw can be compared."""

    resamples: int
    """B."""
    groups: int = field(compare=False)
    """G; of a group of examples those that it has. The digest alone says what was drawn."""
    unit: Literal["sentences", "documents"]
    """What was drawn."""
    digest: str
    """Of all counts, 20 hex digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How often each sentence is in each resample."""

    counts_BN: Floats
    """Whole numbers, float64 for the matrix product, (B, N)."""
    groups_N: NDArray[np.intp]
    """The sentence or document, by number, that each sentence was drawn with, (N,)."""
    draw: Draw


@dataclass(frozen=True, eq=False)
class System:
    """The scores of one system, as they are and on every resample."""

    seeds: tuple[int, ...]
    """One a score; none where nothing in the system depends on a seed."""
    scores_R: Floats
    """On the whole test set, (R,)."""
    resampled_BR: Floats
    """On every resample, (B, R)."""
    draw: Draw
    """The same for all systems that are to be compared."""

    @property
    def fixed(self) -> bool:
        """Whether nothing depends on a seed: it is then paired with any seed of another system."""
        return not self.seeds

    @cached_property
    def centred_RB(self) -> Floats:
        """As of `centred`, (R, B); kept, since every comparison asks for it."""
        return centred(self.resampled_BR.T)


def centred(resampled_RB: Floats) -> Floats:
    """Return by how much each resample differs from the mean over all, seed by seed, (..., R, B)."""
    return np.asarray(resampled_RB - resampled_RB.mean(axis=-1, keepdims=True))


def resample(
    sentences: int,
    resamples: int = 1000,
    *,
    seed: int = SEED,
    documents: Sequence[Hashable] | None = None,
) -> Resampling:
    """Draw sentences, or whole documents, with replacement.

    Args:
        sentences: N.
        resamples: B.
        seed: Of NumPy's default generator; with sacrebleu's the draws are those of its tests.
        documents: The document of every sentence, (N,): as many documents are drawn as there are.

    Raises:
        ValueError: If there are fewer than 2 resamples, or than 2 sentences or documents: what is drawn
            would never differ; or as `document_index` does.
    """
    if resamples < 2:
        raise ValueError(f"resamples must be >= 2, got {resamples}")
    index_N = document_index(documents, sentences)
    groups = int(index_N.max(initial=-1)) + 1
    unit: Literal["sentences", "documents"] = "sentences" if documents is None else "documents"
    if groups < 2:
        raise ValueError(f"resampling needs at least 2 {unit}, got {groups}")
    drawn_BG = np.random.default_rng(seed).choice(groups, size=(resamples, groups), replace=True)
    places_BG = drawn_BG + groups * np.arange(resamples)[:, None]
    counts_BG = np.bincount(places_BG.ravel(), minlength=resamples * groups)
    counts_BN = counts_BG.reshape(resamples, groups)[:, index_N]
    digest = hashlib.sha256(counts_BN.astype("<i4").tobytes()).hexdigest()[:20]
    return Resampling(counts_BN.astype(np.float64), index_N, Draw(resamples, groups, unit, digest))


def document_index(documents: Sequence[Hashable] | None, sentences: int) -> NDArray[np.intp]:
    """Number the documents by first appearance.

    Args:
        documents: The document of every sentence, (N,), in any order; None: each sentence is its own.
        sentences: N.

    Returns:
        The number of every sentence's document, intp, (N,).

    Raises:
        ValueError: If there is not one document id a sentence.
    """
    if documents is None:
        return np.arange(sentences, dtype=np.intp)
    if len(documents) != sentences:
        raise ValueError(f"{sentences} sentences, but {len(documents)} document ids")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(documents))}
    return np.array([numbers[name] for name in documents], dtype=np.intp)


def score_system(
    seeds: Sequence[int], stats_RNS: ArrayLike, score: ScoreFunction, resampling: Resampling
) -> System:
    """Score a system on the whole test set and on every resample.

    Args:
        seeds: R of them, each once; none if nothing in the system depends on a seed (then R is 1).
        stats_RNS: Statistics of every sentence under every seed, (R, N, S).
        score: From sums over sentences to scores.
        resampling: Shared by all systems that are to be compared.

    Raises:
        ValueError: If a seed stands there twice or the shapes do not fit.
    """
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"every seed must stand there once, got {list(seeds)}")
    stats = np.asarray(stats_RNS, dtype=np.float64)
    expected = max(len(seeds), 1), resampling.counts_BN.shape[1]
    if stats.ndim != 3 or stats.shape[:2] != expected:
        raise ValueError(
            f"statistics of {len(seeds)} seeds must be {(*expected, 'S')}, got {stats.shape}"
        )
    resampled_RB = score(resampling.counts_BN @ stats)
    return System(tuple(seeds), score(stats.sum(axis=1)), resampled_RB.T, resampling.draw)
