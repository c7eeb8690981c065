"""The tickets that the paper published, for the tokenizer that they are for.

Source: KS-Lottery (arXiv:2402.02801), Table 11: ids of LLaMA's tokenizer, English to six languages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

TICKETS: dict[tuple[str, str], tuple[int, ...]] = {
    ("eng", "cat"): (
        *(13, 263, 278, 297, 304, 310, 322, 338, 376, 393, 411),
        *(29871, 29889, 29892, 29896, 29900, 29901, 29949),
    ),
    ("eng", "spa"): (
        *(13, 262, 263, 278, 297, 304, 310, 313, 322, 363, 393, 411),
        *(29871, 29889, 29892, 29896, 29897, 29901),
    ),
    ("eng", "ron"): (
        *(13, 278, 297, 304, 310, 322, 338, 366, 393),
        *(29871, 29889, 29892, 29896, 29900, 29901),
    ),
    ("eng", "dan"): (13, 263, 278, 297, 304, 310, 322, 29871, 29889, 29892, 29896, 29900),
    ("eng", "deu"): (
        *(13, 263, 278, 297, 304, 310, 322, 338, 363),
        *(29871, 29889, 29892, 29896, 29901, 29915),
    ),
    ("eng", "por"): (
        *(13, 263, 278, 297, 304, 310, 322, 338, 363, 411),
        *(29871, 29889, 29892, 29896, 29900, 29901, 29915),
    ),
}
"""By source and target language, ISO 639-3; in the order of ids, which is no ranking."""

PIECES = 32_000
LANDMARKS = {13: "<0x0A>", 29871: "\u2581", 29889: "."}
"""Pieces by which LLaMA's tokenizer is recognised: the newline byte, the blank, the full stop."""


def is_llama_tokenizer(
    tokens: Callable[[Sequence[int]], Sequence[str | None]], pieces: int
) -> bool:
    """Tell whether a tokenizer is the one that the published ids belong to.

    Args:
        tokens: From ids to tokens, as a tokenizer's `convert_ids_to_tokens`.
        pieces: How many pieces its vocabulary has, without tokens added later.
    """
    return pieces == PIECES and list(tokens(list(LANDMARKS))) == list(LANDMARKS.values())
