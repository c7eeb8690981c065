"""How the outputs of each task are read: which two rules stand side by side, and what they are called.

Every task has a plain rule and one for the content. A model may gain under the plain one without knowing
more: by learning to stop, or to answer in the wanted form. What the two gain apart is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ksl_bench.registry import Registry


@dataclass(frozen=True, slots=True)
class Readings:
    """The two rules of a task that stand side by side."""

    plain: str
    content: str
    """Under which rows are ranked and judged unless a suite says otherwise."""
    form: str | None
    """What a gain under the plain rule alone is; None where the two do not tell form from content."""
    metrics: tuple[str, ...]
    """All that can score the task."""
    usual_metrics: tuple[str, ...]
    """What is scored unless a suite says otherwise; the first is the headline."""
    calibrates: bool = False
    """Whether thresholds are chosen on dev, which is then never scored."""


DIRECTION = "direction"
"""The axis of groups that says from which language into which."""
TEXT_METRICS = ("bleu", "chrf", "spbleu_flores101", "spbleu_flores200")
LANGUAGE_METRICS = ("off_target", "no_language")
"""Of hypotheses, in per cent: in another language than the wanted one, and in none that can be told."""
LABEL_METRICS = ("accuracy", "macro_f1")
DETECTION_METRICS = (*LABEL_METRICS, "auc")


def ask_language(metrics: Collection[str]) -> bool:
    """Return whether one of some metrics needs to know in which language a hypothesis is."""
    return any(one in LANGUAGE_METRICS for one in metrics)


READINGS: Registry[Readings] = Registry(
    "task",
    {
        "translation": Readings(
            plain="raw",
            content="first_line",
            form="learning to stop",
            metrics=TEXT_METRICS,
            usual_metrics=("bleu", "chrf"),
        ),
        "directions": Readings(
            plain="raw",
            content="first_line",
            form="learning to stop",
            metrics=TEXT_METRICS + LANGUAGE_METRICS,
            usual_metrics=("bleu", "chrf", *LANGUAGE_METRICS),
        ),
        "classification": Readings(
            plain="raw",
            content="likelihood",
            form="learning to answer with a label",
            metrics=LABEL_METRICS,
            usual_metrics=("macro_f1", "accuracy"),
        ),
        "detection": Readings(
            plain="global",
            content="calibrated",
            form=None,
            metrics=DETECTION_METRICS,
            usual_metrics=DETECTION_METRICS,
            calibrates=True,
        ),
    },
)

WHERE: Mapping[str, str] = {
    "raw": "on the raw output",
    "first_line": "on the first line",
    "prompt_restart": "up to a restarted prompt",
    "likelihood": "by the likelihood of the labels",
    "global": "by one threshold",
    "calibrated": "by a threshold for each language",
}
"""By rule: where a score is read, as a sentence has it."""
