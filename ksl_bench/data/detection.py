"""Human and machine text: find it, read it, sample it, name it by a digest.

A location is `controlled`, the corpus that ships with the package, or one that labelled text has, too.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ksl_bench import detection_corpus
from ksl_bench.config import DetectionSpec, Split
from ksl_bench.data.corpus import CONTROLLED, sample
from ksl_bench.data.labelled import Labelled, LabelledCorpus, read_labelled
from ksl_bench.errors import DataError
from ksl_bench.registry import unknown

LANGUAGES = ("eng", "cat", "deu")
"""Of the shipped corpus."""


def read_detection(
    spec: DetectionSpec, split: Split, *, identify: Callable[[str], str] | None = None
) -> LabelledCorpus:
    """Read one split; its digest also covers what wrote each text.

    Args:
        spec: Of the task.
        split: Which one.
        identify: Tells the language of a text, in place of the data; what it says is taken as it is.

    Raises:
        DataError: If it cannot be read as asked; all problems of the location are told together.
    """
    if spec.files(split) == CONTROLLED:
        corpus = _shipped(spec, split)
    else:
        location = spec.files(split)
        if identify and isinstance(location, str) and Path(location).is_dir():
            raise DataError(
                f"identify_language: must be false for {location}: a folder has a file for each language, "
                "which tells it; or give one file of all languages"
            )
        corpus = read_labelled(
            location,
            languages=spec.languages[:1] if identify else spec.languages,
            labels=[label for label, _ in spec.labels],
            split=split,
            size=spec.size(split),
            seed=spec.sample_seed,
            columns=spec.columns.model_copy(update={"language": ""}) if identify else spec.columns,
        )
    if identify:
        told = tuple(replace(one, language=identify(one.text)) for one in corpus.items)
        corpus = replace(corpus, items=told, origin=f"{corpus.origin}, languages identified")
    kept = [[one.language, generator_of(spec, one)] for one in corpus.items]
    content = json.dumps([corpus.digest, kept], ensure_ascii=True)
    return replace(corpus, digest=hashlib.sha256(content.encode()).hexdigest())


def generator_of(spec: DetectionSpec, one: Labelled) -> str:
    """Return what wrote a text; its label where the corpus does not tell."""
    return one.fields.get(spec.columns.generator) or one.label


def _shipped(spec: DetectionSpec, split: Split) -> LabelledCorpus:
    problems = [
        unknown("language of the detection corpus", one, LANGUAGES)
        for one in spec.languages
        if one not in LANGUAGES
    ]
    if problems:
        raise DataError(problems)
    content = gzip.decompress((detection_corpus.PATH / f"{split}.jsonl.gz").read_bytes())
    label_of = dict(zip(("human", "machine"), (label for label, _ in spec.labels), strict=True))
    rows = [json.loads(line) for line in content.splitlines()]
    items = [
        Labelled(
            row["text"],
            label_of[row["label"]],
            row["language"],
            fields={spec.columns.generator: row["generator"]},
        )
        for row in rows
        if row["language"] in spec.languages
    ]
    size = spec.size(split)
    if size is not None and size > len(items):
        raise DataError(
            f"controlled: {size} {split} texts wanted, but {len(items)} available in the detection corpus"
        )
    used = tuple(sample(items, size, spec.sample_seed if split == "train" else None))
    digest = hashlib.sha256()
    for one in used:
        digest.update(json.dumps([one.text, one.label, one.language]).encode())
    origin = f"detection corpus, {split}, {', '.join(spec.languages)}"
    return LabelledCorpus(used, digest.hexdigest(), origin, len(items))
