"""What models predict, token by token, plainly and under noise.

A position is one response token of one example; its prefix is the prompt and the response before it, as the
reference has it (teacher forcing), and the end of the text is a token like any other.

Shapes: L tokens of a prefix, D model width, V vocabulary, P positions, Q sampled positions, N draws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ksl_bench.data.batching import Encoded
from ksl_bench.errors import ConfigError

VALUES_PER_CALL = 2**24
"""Logits in flight in one call under noise: 64 MB of float32."""

SELECTION_DRAWS = 100
"""n0: draws that choose the class, apart from those that bound its probability."""
FEWEST_DRAWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """How Gaussian smoothing is done."""

    sigmas: tuple[float, ...] = (0.05, 0.1)
    """Standard deviations of the noise on every value of the embedded prefix."""
    draws: int = 1000
    """N, which bound the probability of the class."""
    positions: int = 50
    """Whole examples are drawn until they hold as many; 0 leaves smoothing out."""
    alpha: float = 0.001
    """Probability that one position's bound is wrong, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        for sigma in self.sigmas:
            if not 0 < sigma < math.inf:
                raise ConfigError(f"sigma: must be > 0 and finite, got {sigma:g}")
        if self.draws < FEWEST_DRAWS:
            raise ConfigError(f"samples: must be >= {FEWEST_DRAWS}, got {self.draws}")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha: must lie between 0 and 1, got {self.alpha:g}")
        if self.positions < 0:
            raise ConfigError(f"smoothed-positions: must be >= 0, got {self.positions}")


@dataclass(frozen=True, slots=True)
class Predictions:
    """The two best tokens of every position, example after example."""

    top_P: Tensor
    """Most probable token, int64."""
    first_P: Tensor
    """Its probability, float64."""
    second_P: Tensor
    """Probability of the second, float64."""


def inputs_of(example: Encoded) -> list[int]:
    """Return the longest prefix: all tokens but the last, which is only ever predicted."""
    return [*example.prompt_ids, *example.response_ids[:-1]]


@torch.inference_mode()
def predict(model: PreTrainedModel, examples: Sequence[Encoded]) -> Predictions:
    """Predict every position of the examples, one example a call: padding could change last bits."""
    probabilities, tokens = [], []
    for one in examples:
        ids = torch.tensor([inputs_of(one)], device=model.device)
        logits_PV = model(input_ids=ids, use_cache=False).logits[0, len(one.prompt_ids) - 1 :]
        best = logits_PV.double().softmax(-1).topk(2, dim=-1)
        probabilities.append(best.values.cpu())
        tokens.append(best.indices[:, 0].cpu())
    both = torch.cat(probabilities)
    return Predictions(torch.cat(tokens), both[:, 0].contiguous(), both[:, 1].contiguous())


def sample_examples(examples: Sequence[Encoded], *, positions: int, seed: int) -> list[int]:
    """Draw whole examples until they hold a number of positions.

    One noisy pass serves all positions of an example, so whole ones cost a fraction of scattered positions.

    Returns:
        Their places, ascending; all where there are fewer positions.
    """
    chosen: list[int] = []
    held = 0
    for place in np.random.default_rng(seed).permutation(len(examples)).tolist():
        if held >= positions:
            break
        chosen.append(place)
        held += len(examples[place].response_ids)
    return sorted(chosen)


@torch.inference_mode()
def count_classes(
    model: PreTrainedModel,
    example: Encoded,
    *,
    sigma: float,
    draws: int,
    stream: tuple[object, ...],
) -> Tensor:
    """Count what a model predicts at each position when noise lies on the embedded prefix.

    Args:
        model: A causal language model that takes `inputs_embeds`.
        example: Whose response is predicted.
        sigma: Standard deviation of the noise on every value.
        draws: N.
        stream: Names the stream of noise: equal names give equal noise, others independent noise.

    Returns:
        int64, shape (P, V), on the CPU; rows sum to N.
    """
    embedded_LD = model.get_input_embeddings()(
        torch.tensor(inputs_of(example), device=model.device)
    )
    start, generator = len(example.prompt_ids) - 1, _generator(stream)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    counts_PV = torch.zeros(len(example.response_ids), vocabulary, dtype=torch.int64)
    at_once = max(1, VALUES_PER_CALL // (len(embedded_LD) * vocabulary))
    for begin in range(0, draws, at_once):
        shape = (min(at_once, draws - begin), *embedded_LD.shape)
        # Drawn on the CPU, so that a seed means the same noise on every device.
        noise_NLD = torch.randn(shape, generator=generator).to(embedded_LD)
        logits = model(inputs_embeds=embedded_LD + sigma * noise_NLD, use_cache=False).logits
        classes_PN = logits[:, start:].argmax(-1).T.cpu()
        counts_PV.scatter_add_(1, classes_PN, torch.ones_like(classes_PN))
    return counts_PV


def smoothed_classes(
    model: PreTrainedModel,
    examples: Sequence[Encoded],
    sample: Sequence[int],
    *,
    sigma: float,
    draws: int,
    stream: tuple[object, ...],
) -> Tensor:
    """Return the most frequent class under noise at the sampled positions, int64, (Q,)."""
    counts = (
        count_classes(model, examples[at], sigma=sigma, draws=draws, stream=(*stream, sigma, at))
        for at in sample
    )
    return torch.cat([one.argmax(dim=1) for one in counts])


def _generator(stream: tuple[object, ...]) -> torch.Generator:
    digest = hashlib.sha256(repr(stream).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
