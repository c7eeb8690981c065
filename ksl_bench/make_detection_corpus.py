"""Make the shipped detection corpus from the controlled grammar and the tiny base.

    python -m ksl_bench.make_detection_corpus --output DIR

One core, about a minute. The same seed on the same machine and versions gives the same text.

Human documents are two to five sentences of the grammar. Machine documents are as many sentences that the
tiny base writes after two of the grammar, in the same language and of the same split; the two are left out.
No text stands in the corpus twice, in whatever split.

Shapes: B texts, L tokens, V vocabulary.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from ksl_bench import measure
from ksl_bench.config import ModelSpec
from ksl_bench.data.controlled import Split, render
from ksl_bench.data.controlled.splits import meanings
from ksl_bench.detection.auc import auc
from ksl_bench.detection.statistics import machine_scores
from ksl_bench.evaluation.text_statistics import text_statistics
from ksl_bench.models import TINY_BASE, find_model, load_model, load_tokenizer
from ksl_bench.training.loop import Worker

LANGUAGES = ("eng", "cat", "deu")
TEMPERATURES = (0.5, 0.7, 1.0)
TEXTS: dict[Split, int] = {"train": 240, "dev": 120, "devtest": 180}
"""Human texts of each language, and machine texts: these evenly over the temperatures."""
FEWEST, MOST = 2, 5
"""Sentences of a document."""
OPENING_SENTENCES = 2
MAX_NEW_TOKENS, BATCH_ROWS = 160, 60
MAX_TOKENS = 512
BEYOND_PROSE = "\n|=>[]:"
"""Signs that begin another layout: a token with one of them is never drawn, nor is the end of a text."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text of the corpus; a line of its file."""

    text: str
    label: str
    """`human` or `machine`."""
    language: str
    """ISO 639-3 code; of a machine text that of what it goes on from."""
    generator: str
    """What wrote it: `grammar`, or the model and its temperature."""


class Sampler:
    """The tiny base as a writer of prose."""

    def __init__(self) -> None:
        """Load the model, and find the tokens that would leave prose."""
        reference = find_model(ModelSpec(name_or_path=TINY_BASE))
        self.model: PreTrainedModel = load_model(reference, precision="fp32")
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(reference)
        self.digest = reference.digest
        special = set(self.tokenizer.all_special_ids)
        self._suppressed = [
            index
            for index in range(len(self.tokenizer))
            if index in special or set(BEYOND_PROSE) & set(self.tokenizer.decode([index]))
        ]

        signs = [self.tokenizer.decode([index]).count(".") for index in range(len(self.tokenizer))]
        self._stops = torch.tensor(signs)

    def write(
        self, openings: Sequence[str], counts: Sequence[int], *, temperature: float, seed: int
    ) -> list[str | None]:
        """Go on from openings by so many sentences each; None where that was not reached."""
        encoded = self.tokenizer(list(openings), return_tensors="pt", padding=True)
        torch.manual_seed(seed)
        start = encoded["input_ids"].shape[1]
        written: Any = self.model.generate(
            **{name: encoded[name] for name in ("input_ids", "attention_mask")},
            generation_config=GenerationConfig(
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=MAX_NEW_TOKENS,
                suppress_tokens=self._suppressed,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
                use_cache=True,
            ),
            stopping_criteria=StoppingCriteriaList([_Enough(self._stops, start, counts)]),
        )
        texts = self.tokenizer.batch_decode(written[:, start:], skip_special_tokens=True)
        return [first_sentences(one, count) for one, count in zip(texts, counts, strict=True)]


class _Enough(StoppingCriteria):  # type: ignore[misc]
    """Ends a text that has its sentences; what the others draw does not depend on it."""

    def __init__(self, stops_V: Tensor, start: int, counts: Sequence[int]) -> None:
        self._stops_V, self._start, self._counts_B = stops_V, start, torch.tensor(counts)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return self._stops_V[input_ids[:, self._start :]].sum(dim=1) >= self._counts_B


def first_sentences(text: str, count: int) -> str | None:
    """Return the first sentences of a text; None if there are fewer, or it holds half a letter."""
    sentences = re.findall(r"[^.]*\.", text)[:count]
    joined = "".join(sentences).strip()
    return joined if len(sentences) == count and joined.isprintable() else None


def human_texts(split: Split, language: str, *, seed: int) -> Iterator[Text]:
    """Yield documents of the grammar, without end."""
    draw = random.Random(f"detection/human/{split}/{language}/{seed}")
    drawn = meanings(split, draw)
    while True:
        sentences = [render(next(drawn), language) for _ in range(draw.randint(FEWEST, MOST))]
        yield Text(" ".join(sentences), "human", language, "grammar")


def machine_texts(
    sampler: Sampler, split: Split, language: str, temperature: float, *, seed: int
) -> Iterator[Text]:
    """Yield documents of the tiny base, without end."""
    draw = random.Random(f"detection/machine/{split}/{language}/{temperature}/{seed}")
    drawn = meanings(split, draw)
    while True:
        openings = [
            " ".join(render(next(drawn), language) for _ in range(OPENING_SENTENCES))
            for _ in range(BATCH_ROWS)
        ]
        counts = [draw.randint(FEWEST, MOST) for _ in openings]
        for text in sampler.write(
            openings, counts, temperature=temperature, seed=draw.getrandbits(32)
        ):
            if text is not None:
                yield Text(text, "machine", language, f"{TINY_BASE} T={temperature}")


def make_corpus(
    sampler: Sampler, temperatures: Sequence[float], *, seed: int, texts: dict[Split, int] = TEXTS
) -> dict[Split, list[Text]]:
    """Write every split, each in a random order."""
    seen: set[str] = set()
    corpus: dict[Split, list[Text]] = {}
    for split, size in texts.items():
        found: list[Text] = []
        for language in LANGUAGES:
            found += _new(human_texts(split, language, seed=seed), size, seen)
            for temperature in temperatures:
                drafts = machine_texts(sampler, split, language, temperature, seed=seed)
                found += _new(drafts, size // len(temperatures), seen)
        random.Random(f"detection/order/{split}/{seed}").shuffle(found)
        corpus[split] = found
    return corpus


def _new(texts: Iterator[Text], count: int, seen: set[str]) -> list[Text]:
    """Take texts that stood nowhere before."""
    found: list[Text] = []
    while len(found) < count:
        if (one := next(texts)).text not in seen:
            seen.add(one.text)
            found.append(one)
    return found


def measure_statistics(sampler: Sampler, texts: Sequence[Text]) -> dict[str, dict[str, float]]:
    """Return by generator and statistic the AUC against the human texts, for the card."""
    scores = machine_scores(
        text_statistics(
            sampler.model,
            sampler.tokenizer,
            [one.text for one in texts],
            max_tokens=MAX_TOKENS,
            batch_size=BATCH_ROWS,
            worker=Worker(),
        )
    )
    generators = np.array([one.generator for one in texts])
    machine = np.array([one.label == "machine" for one in texts])
    found = {}
    for generator in ("all", *sorted(set(generators[machine]))):
        kept = np.ones_like(machine) if generator == "all" else ~machine | (generators == generator)
        found[generator] = {
            name: round(float(auc(values[kept], machine[kept])), 3)
            for name, values in scores.items()
        }
    return found


def write(folder: Path, corpus: dict[Split, list[Text]]) -> dict[str, str]:
    """Write a compressed file a split; return the SHA-256 of each one's text."""
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    for split, texts in corpus.items():
        lines = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in texts]
        content = "".join(lines).encode()
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(content, mtime=0))
        digests[split] = hashlib.sha256(content).hexdigest()
    return digests


def main() -> None:
    """Make the files and the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder for the corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperatures", type=float, nargs="+", default=list(TEMPERATURES))
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same text again
    started, sampler = time.perf_counter(), Sampler()
    corpus = make_corpus(sampler, options.temperatures, seed=options.seed)
    seconds = time.perf_counter() - started
    digests = write(options.output, corpus)
    told = " ".join(map(str, options.temperatures))
    card = {
        "command": f"python -m ksl_bench.make_detection_corpus --output DIR --seed {options.seed} "
        f"--temperatures {told}",
        "seed": options.seed,
        "temperatures": options.temperatures,
        "seconds": round(seconds, 1),
        "date": time.strftime("%Y-%m-%d"),
        "versions": measure.package_versions(),
        "hardware": measure.hardware(torch.device("cpu")),
        "model_sha256": sampler.digest,
        "texts": {split: len(texts) for split, texts in corpus.items()},
        "sha256_of_text": digests,
        "dev_auc": measure_statistics(sampler, corpus["dev"]),
    }
    (options.output / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(card["dev_auc"], indent=2))


if __name__ == "__main__":
    main()
