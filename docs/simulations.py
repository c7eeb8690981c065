"""Tables of what scripts in perf/ measured, from what they wrote to docs/results/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Report = Mapping[str, Any]

SHARES = {
    "seeds only": "1 / 0 / 0",
    "seeds": "0.9 / 0.1 / 0",
    "mostly seeds": "0.7 / 0.3 / 0",
    "balanced": "0.4 / 0.4 / 0.2",
    "mostly sentences": "0.15 / 0.7 / 0.15",
    "sentences only": "0 / 1 / 0",
    "interaction": "0.1 / 0.2 / 0.7",
}
"""Of seeds, sentences and their interaction, as perf/coverage.py has them."""

COVERAGE = {
    "percentile": "percentile bootstrap over seeds",
    "t_over_seeds": "t over seeds",
    "sentences_alone": "sentences only",
    "satterthwaite": "Satterthwaite as it stands",
    "mean": "**ours: one system**",
    "paired": "**paired**",
    "unpaired": "**unpaired**",
}
FAMILY = {
    "satterthwaite": "Satterthwaite as it stands",
    "single": "our interval's p",
    "guarded": "**guarded p (the ranks)**",
}


WAYS = {
    "full": "full fine-tuning",
    "lota s=0.9": "LoTA, s = 0.9",
    "lota s=0.99": "LoTA, s = 0.99",
}


def lota_memory(report: Report) -> Iterator[str]:
    """Yield what each way of perf/lota.py trains and holds."""
    yield from _table(["", "trained", "of full", "optimizer", "of full", "peak", "of full"])
    for one in report["ways"]:
        cells = (
            f"{one['trainable_parameters']:,}",
            f"{one['parameters_of_full']:.2g}",
            f"{one['optimizer_bytes'] / 2**20:.1f} MiB",
            f"{one['optimizer_of_full']:.2g}",
            f"{one['peak_bytes'] / 2**20:.0f} MiB",
            f"{one['peak_of_full']:.2g}",
        )
        yield f"| {WAYS[one['way']]} | {' | '.join(cells)} |"


def language_id(report: Report, text: str) -> Iterator[str]:
    """Yield how many lines in a hundred perf/language_id.py found told right, by language."""
    rows = [one for one in report["rows"] if one["text"] == text]
    yield from _table(["chooses among", *(f"{one}, %" for one in rows[0]["lines"])])
    for one in rows:
        shares = (
            f"{100 * (1 - one['wrong'][language] / lines):.2f}"
            for language, lines in one["lines"].items()
        )
        name = f"all {one['candidates']}" if one["among"] == "all" else one["among"]
        yield f"| {name} | {' | '.join(shares)} |"


def language_id_errors(report: Report, text: str) -> Iterator[str]:
    """Yield how many lines of a text are told wrong among the four languages."""
    (one,) = (row for row in report["rows"] if (row["text"], row["among"]) == (text, "these four"))
    wrong, lines = sum(one["wrong"].values()), sum(one["lines"].values())
    yield (
        f"Of {lines:,} lines of `{text}`, {wrong} are told wrong among these four "
        f"({report['library']}, {report['date']})."
    )


def coverage(report: Report) -> Iterator[str]:
    """Yield how often 95 % intervals held the truth."""
    yield from _table(["variance by", "R", "N", *COVERAGE.values()])
    for one in report["coverage"]:
        cells = [_shares(one), str(one["seeds"]), str(one["sentences"])]
        yield _line([*cells, *_numbers(one, COVERAGE)])


def families(report: Report) -> Iterator[str]:
    """Yield how often equal systems were told apart."""
    yield from _table(["variance by", "R", *FAMILY.values()])
    for one in report["family"]:
        yield _line([_shares(one), str(one["seeds"]), *_numbers(one, FAMILY)])


def summary(report: Report) -> Iterator[str]:
    """Yield the sentence that the tables come to."""
    ours = [one[name] for one in report["coverage"] for name in ("mean", "paired", "unpaired")]
    highest = max(one["guarded"] for one in report["family"])
    yield (
        f"Ours covers {min(ours):.1f} to {max(ours):.1f} % (asked: 93 to 97), the ranks' family-wise rate is "
        f"at most {highest:.1f} % (asked: 6.7)."
    )


def _shares(one: Mapping[str, Any]) -> str:
    return f"{one['shares']} ({SHARES[one['shares']]})"


def _numbers(one: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[str]:
    for name, head in columns.items():
        number = f"{one[name]:.1f}"
        yield f"**{number}**" if head.startswith("**") else number


def _table(head: list[str]) -> Iterator[str]:
    yield _line(head)
    yield "|" + "|".join("---:" if i else "---" for i in range(len(head))) + "|"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
