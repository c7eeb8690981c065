"""The text of a suite: what of it enters keys, and whether it may be scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksl_bench.config import Split, Suite, TaskSpec
from ksl_bench.errors import ConfigError
from ksl_bench.leaks import Segments, find_leaks
from ksl_bench.store import key_of
from ksl_bench.tasks import build_task
from ksl_bench.tasks.readings import READINGS


@dataclass(frozen=True, slots=True)
class Text:
    """One split of one condition: what of it enters keys, and what is told of it."""

    inputs: dict[str, Any]
    data: dict[str, Any]
    segments: Segments
    """All that a model may have learned by heart, or be scored on."""
    documents: str | None
    """Which document each segment stands in, as a key; None where the corpus does not tell."""

    @classmethod
    def read(cls, spec: TaskSpec, split: Split) -> Text:
        """Read a split for what identifies it."""
        task = build_task(spec)
        examples = task.read(split)
        documents = [one.document for one in examples.items]
        return cls(
            inputs={"task": spec.name, "digest": examples.digest, "prompt": dict(task.identity)},
            data={
                "digest": examples.digest,
                "origin": examples.origin,
                "examples": len(examples.items),
                "available": examples.available,
            },
            segments=Segments.of(text for one in examples.items for text in task.segments(one)),
            documents=None if None in documents else key_of({"documents": documents}),
        )


Texts = dict[tuple[TaskSpec, Split], Text]
"""What was read already, for one plan after another over the same text."""


def splits_of(suite: Suite) -> tuple[Split, ...]:
    """Return the splits that a suite reads: for tuning, perhaps for thresholds, for scores."""
    calibrating: tuple[Split, ...] = ("dev",) if READINGS[suite.task.name].calibrates else ()
    return ("train", *calibrating, suite.evaluate.split)


def read_texts(suite: Suite, texts: Texts) -> dict[tuple[str, Split], Text]:
    """Read what a suite tunes on and scores, by condition and split.

    Args:
        suite: Validated.
        texts: What was read already, and takes what is read now.

    Raises:
        ConfigError: If there are not two segments to score, or some were tuned on.
        DataError: If a split cannot be read.
    """
    found: dict[tuple[str, Split], Text] = {}
    for name, spec in suite.tasks.items():
        for split in splits_of(suite):
            found[name, split] = _read(spec, split, texts)
        scored = found[name, suite.evaluate.split].data["examples"]
        if scored < 2:
            raise ConfigError(
                f"{suite.path_of(name)}.{suite.evaluate.split}_files: {scored} segment, "
                "at least 2 are needed to tell a difference from chance"
            )
    _refuse_leaks(
        suite, "training text", {name: found[name, "train"] for name in suite.tasks}, found
    )
    if any(one.search is not None for one in suite.baselines):
        dev = {name: _read(spec, "dev", texts) for name, spec in suite.tasks.items()}
        _refuse_leaks(suite, "dev text, on which baselines were chosen", dev, found)
        _refuse_what_chose(suite, found)
    return found


def _read(spec: TaskSpec, split: Split, texts: Texts) -> Text:
    if (spec, split) not in texts:
        texts[spec, split] = Text.read(spec, split)
    return texts[spec, split]


def _refuse_leaks(
    suite: Suite,
    read_as: str,
    read: Mapping[str, Text],
    found: Mapping[tuple[str, Split], Text],
) -> None:
    """Refuse what was read already and is scored, unless the condition that scores it allows it."""
    split = suite.evaluate.split
    scored = {
        name: found[name, split].segments
        for name, spec in suite.tasks.items()
        if spec.leaks == "refused"
    }
    paths = {name: suite.path_of(name) for name in scored}
    segments = {name: text.segments for name, text in read.items()}
    leaks = list(find_leaks(segments, scored, split=split, paths=paths, read_as=read_as))
    if leaks:
        raise ConfigError(leaks)


def _refuse_what_chose(suite: Suite, found: Mapping[tuple[str, Split], Text]) -> None:
    """Refuse to score the very text on which a sweep chose, whatever it is called here."""
    split = suite.evaluate.split
    problems = [
        f"{suite.path_of(name)}.{split}_files: sweep {one.search.space!r} chose {one.name} on this text; "
        "a test of it needs another"
        for name in suite.tasks
        for one in suite.baselines
        if one.search is not None and found[name, split].data["digest"] in one.search.texts
    ]
    if problems:
        raise ConfigError(problems)
