"""Corpus metrics with their signatures, all by sacrebleu.

Source: Post 2018 (arXiv:1804.08771); spBLEU: Goyal et al. 2022 (arXiv:2106.03193).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

from ksl_bench.errors import ConfigError

_TOKENIZERS = {"zho": "zh", "jpn": "ja-mecab", "kor": "ko-mecab"}
"""BLEU's tokenizers for languages written without blanks, as sacrebleu advises; 13a for all others."""

_MODELS = {
    "spbleu_flores101": "sacrebleu_tokenizer_spm.model",
    "spbleu_flores200": "flores200sacrebleuspm",
}
"""SentencePiece files that sacrebleu would otherwise download in the middle of a run."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one system on one split."""

    value: float
    """0 to 100."""
    signature: str
    """sacrebleu's: all that another needs to compute the same."""


def check_tokenizer_files(names: Sequence[str]) -> None:
    """Check that metrics could be computed here, now.

    Raises:
        ConfigError: If a tokenizer's file is missing; says where it belongs.
    """
    missing = [(name, path) for name in names if (path := tokenizer_file(name))]
    problems = [
        f"evaluate.metrics: {name} needs sacrebleu's SentencePiece file at {path} (put it there, or name "
        "the folder above models/ in $SACREBLEU)"
        for name, path in missing
        if not path.exists()
    ]
    if problems:
        raise ConfigError(problems)


def tokenizer_file(name: str) -> Path | None:
    """Return the file that a metric's tokenizer needs, None if it needs none."""
    from sacrebleu.utils import SACREBLEU_DIR

    return Path(SACREBLEU_DIR) / "models" / _MODELS[name] if name in _MODELS else None


def make_scorer(metric: str, language: str) -> Any:
    """Return sacrebleu's scorer of a metric.

    Args:
        metric: One of TEXT_METRICS.
        language: ISO 639-3 code of hypotheses and references, for BLEU's tokenizer.
    """
    if metric == "chrf":
        return CHRF()
    if metric == "bleu":
        return BLEU(tokenize=_TOKENIZERS.get(language), force=True)
    return BLEU(tokenize=metric.removeprefix("spbleu_"), force=True)


def score_corpus(
    metric: str, hypotheses: Sequence[str], references: Sequence[str], *, language: str
) -> Score:
    """Score hypotheses against one reference each.

    Args:
        metric: One of TEXT_METRICS.
        hypotheses: One line each.
        references: As many.
        language: ISO 639-3 code of both, for BLEU's tokenizer.

    Returns:
        The score of the whole corpus.
    """
    scorer = make_scorer(metric, language)
    score = scorer.corpus_score(list(hypotheses), [list(references)])
    return Score(float(score.score), str(scorer.get_signature()))
