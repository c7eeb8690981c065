"""The card of a shipped base model: what its files are, how they were made, what they score."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ksl_bench import measure
from ksl_bench.config import DecodingSpec, Split, TranslationSpec
from ksl_bench.data.controlled import BASE_LANGUAGES
from ksl_bench.evaluation.generate import generate
from ksl_bench.evaluation.metrics import score_corpus
from ksl_bench.tasks import build_task
from ksl_bench.training.loop import Worker

CARD_SENTENCES = 400
DIRECTION_SENTENCES = 100
"""Of a card, for each direction of a base that has more languages than the first."""


def score(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    split: Split,
    prompt: str,
    direction: tuple[str, str] = ("eng", "cat"),
    sentences: int = CARD_SENTENCES,
) -> dict[str, Any]:
    """Score a direction under a prompt: BLEU by rule, and the EOS rate in percent."""
    files: dict[str, Any] = {f"{one}_files": "controlled" for one in ("train", "dev", "devtest")}
    sizes: dict[str, Any] = {f"{split}_size": sentences}
    source, target = direction
    task = build_task(
        TranslationSpec(
            source_language=source, target_language=target, prompt=prompt, **files, **sizes
        )
    )
    examples = task.read(split).items
    outputs = generate(
        model,
        tokenizer,
        [task.template.render(one.fields) for one in examples],
        decoding=DecodingSpec(max_new_tokens=48, batch_size=50),
        worker=Worker(),
    )
    references = [one.response for one in examples]
    bleu = {
        name: score_corpus("bleu", [rule(one) for one in outputs], references, language=target)
        for name, rule in task.rules.items()
    }
    ended = 100 * sum(one.ended for one in outputs) / len(outputs)
    return {
        "split": split,
        "direction": f"{source}-{target}",
        "prompt": prompt,
        "sentences": sentences,
        "bleu": {name: one.value for name, one in bleu.items()},
        "eos_percent": ended,
    }


def scores_of(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    languages: Sequence[str],
    splits: Sequence[Split],
) -> Iterator[dict[str, Any]]:
    """Score English to Catalan under four prompts; of more languages than three, every direction too."""
    for split in splits:
        for prompt in ("explicit", "alpaca", "paraphrase", "bare"):
            yield score(model, tokenizer, split=split, prompt=prompt)
        if len(languages) > len(BASE_LANGUAGES):
            for direction in permutations(languages, 2):
                yield score(
                    model,
                    tokenizer,
                    split=split,
                    prompt="explicit",
                    direction=direction,
                    sentences=DIRECTION_SENTENCES,
                )


def write_card(
    folder: Path, *, options: argparse.Namespace, seconds: float, scores: list[Any]
) -> None:
    """Write `card.json`: what the files are, how they were made, what they score."""
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "tokenizer.json", "config.json")
    }
    command = f"python -m ksl_bench.make_tiny_base --output DIR --seed {options.seed} --steps {options.steps}"
    if tuple(options.languages) != BASE_LANGUAGES:
        command += f" --vocabulary {options.vocabulary} --languages {' '.join(options.languages)}"
    card = {
        "command": command,
        "seed": options.seed,
        "steps": options.steps,
        "training_seconds": round(seconds, 1),
        "date": time.strftime("%Y-%m-%d"),
        "versions": measure.package_versions(),
        "hardware": measure.hardware(torch.device("cpu")),
        "sha256": files,
        "scores": scores,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
