"""Make a shipped base model from the controlled corpus.

    python -m ksl_bench.make_tiny_base --output DIR

One core, about four minutes, for `tiny-base`; the command of `tiny-base-five` is in its card. The same
seed on the same machine and versions gives the same file; the number of steps was chosen on dev, so that
the model translates well but not perfectly.

Shapes: B rows of a batch, L tokens of a row.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ksl_bench.base_card import scores_of, write_card
from ksl_bench.config import Split
from ksl_bench.data.controlled import BASE_LANGUAGES, LANGUAGES, Segment, pretraining_documents
from ksl_bench.data.controlled.documents import OTHER_WEIGHT, SOURCE_WEIGHT

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
BATCH_ROWS, ROW_TOKENS = 8, 96
PEAK_LEARNING_RATE = 3e-3

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
