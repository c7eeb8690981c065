"""Make a shipped base model from the controlled corpus.

    python -m ksl_bench.make_tiny_base --output DIR

One core, about four minutes, for `tiny-base`; the command of `tiny-base-five` is in its card. The same
seed on the same machine and versions gives the same file; the number of steps was chosen on dev, so that
the model translates well but not perfectly.

Shapes: B rows of a batch, L tokens of a row.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ksl_bench import measure
from ksl_bench.config import DecodingSpec, Split, TranslationSpec
from ksl_bench.data.controlled import BASE_LANGUAGES, LANGUAGES, Segment, pretraining_documents
from ksl_bench.data.controlled.documents import OTHER_WEIGHT, SOURCE_WEIGHT
from ksl_bench.evaluation.generate import generate
from ksl_bench.evaluation.metrics import score_corpus
from ksl_bench.tasks import build_task
from ksl_bench.training.loop import Worker

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
BATCH_ROWS, ROW_TOKENS = 8, 96
PEAK_LEARNING_RATE = 3e-3
CARD_SENTENCES = 400
DIRECTION_SENTENCES = 100
"""Of a card, for each direction of a base that has more languages than the first."""

Documents = Callable[..., Callable[[], list[Segment]]]
"""`pretraining_documents` for some languages."""


def make_tokenizer(documents: Documents, *, seed: int, vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on documents; it puts BOS before a text."""
    document = documents(seed, glossaries=0.1)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ("".join(text for text, _ in document()) for _ in range(6000))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_model(vocabulary: int) -> LlamaForCausalLM:
    """Make an untrained Llama, embeddings not tied: 1.02 M parameters for a vocabulary of 1,500."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.06,
        )
    )


def rows(
    tokenizer: PreTrainedTokenizerFast, document: Callable[[], list[Segment]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of packed documents: token ids and loss weights, both of shape (B, L)."""
    ids: list[int] = []
    weights: list[float] = []
    need = BATCH_ROWS * ROW_TOKENS
    while True:
        while len(ids) < need:
            segments = [
                segment
                for _ in range(60)
                for segment in [(BOS, SOURCE_WEIGHT), *document(), (EOS, OTHER_WEIGHT)]
            ]
            encoded = tokenizer([text for text, _ in segments], add_special_tokens=False)
            for piece, (_, weight) in zip(encoded["input_ids"], segments, strict=True):
                ids += piece
                weights += [weight] * len(piece)
        shape = (BATCH_ROWS, ROW_TOKENS)
        yield torch.tensor(ids[:need]).view(shape), torch.tensor(weights[:need]).view(shape)
        ids, weights = ids[need:], weights[need:]


def pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    documents: Documents,
    *,
    steps: int,
    seed: int,
) -> float:
    """Train the model; return the seconds it took.

    Documents of single phrases come early and thin out, a curriculum that halves the time.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.02, fused=True
    )
    early = rows(tokenizer, documents(seed + 1, glossaries=0.5))
    late = rows(tokenizer, documents(seed + 2, glossaries=0.15))
    turn = random.Random(seed)
    started, recent = time.perf_counter(), 0.0
    model.train()
    for step in range(steps):
        done = step / steps
        for group in optimizer.param_groups:
            warm, fall = min(1.0, (step + 1) / 60), min(1.0, max(0.02, 2 * (1 - done)))
            group["lr"] = PEAK_LEARNING_RATE * warm * fall
        ids_BL, weights_BL = next(early if turn.random() < max(0.0, 1 - done / 0.4) else late)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids_BL, use_cache=False).logits[:, :-1]
        losses = F.cross_entropy(
            logits.float().flatten(0, 1), ids_BL[:, 1:].flatten(), reduction="none"
        )
        weights = weights_BL[:, 1:].flatten()
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent = loss.item() if step == 0 else 0.98 * recent + 0.02 * loss.item()
        if (step + 1) % 500 == 0:
            print(f"step {step + 1}/{steps}  loss {recent:.3f}", flush=True)
    return time.perf_counter() - started


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
        name: score_corpus("bleu", [rule(one) for one in outputs], references, language="cat").value
        for name, rule in task.rules.items()
    }
    ended = 100 * sum(one.ended for one in outputs) / len(outputs)
    return {
        "split": split,
        "direction": f"{source}-{target}",
        "prompt": prompt,
        "sentences": sentences,
        "bleu": bleu,
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


def main() -> None:
    """Make tokenizer, model and card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=4250)
    parser.add_argument("--vocabulary", type=int, default=1500, help="tokens")
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=BASE_LANGUAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dev-only", action="store_true", help="leave devtest alone: for choosing")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same file again
    torch.manual_seed(options.seed)
    documents = partial(pretraining_documents, languages=options.languages)
    tokenizer = make_tokenizer(documents, seed=options.seed, vocabulary=options.vocabulary)
    model = make_model(len(tokenizer))
    seconds = pretrain(model, tokenizer, documents, steps=options.steps, seed=options.seed)
    splits: tuple[Split, ...] = ("dev",) if options.dev_only else ("dev", "devtest")
    scores = list(scores_of(model, tokenizer, languages=options.languages, splits=splits))
    model.generation_config.do_sample = False
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    (options.output / "model.safetensors").chmod(0o644)
    write_card(options.output, options=options, seconds=seconds, scores=scores)
    for one in scores:
        print(json.dumps(one))


if __name__ == "__main__":
    main()
