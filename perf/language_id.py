"""How often language identification is right, on lines of real text whose language is known.

    python perf/language_id.py FOLDER... [--json]

A folder holds a text a language, `NAME.eng`, `NAME.cat` and so on (NTREX-128, FLORES-101): a line a segment;
lines of blanks are left out. Each line is asked for by itself, among the four languages measured, among
twelve European ones, and among all that the library knows. Shares are of the lines of one language.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from ksl_bench.data.languages import to_iso6391
from ksl_bench.measure import hardware, package_versions
from ksl_bench.tasks.language_id import Identify, text_identifier

LANGUAGES = ("eng", "cat", "spa", "dan")
TWELVE = (*LANGUAGES, "deu", "fra", "ita", "por", "nld", "swe", "pol", "ron")


def lines_of(folder: Path, language: str) -> list[str]:
    (file,) = folder.glob(f"*.{language}")
    # Not splitlines(): a line may hold a separator that it would take for an end.
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


def identifiers() -> Iterator[tuple[str, int, Identify]]:
    """Yield a name of some candidates, how many they are, and what chooses among them."""
    yield "these four", len(LANGUAGES), text_identifier(LANGUAGES)
    yield "twelve European", len(TWELVE), text_identifier(TWELVE)
    library = LanguageIdentifier.from_model_file(MODEL_FILE)
    ours = {to_iso6391(one): one for one in LANGUAGES}
    every = {str(one) for one in library.labels}

    def identify(text: str) -> str:
        return ours.get(library.classify(text)[0], "another")

    yield "all", len(every), identify


def measured(folder: Path) -> Iterator[dict[str, Any]]:
    texts = {language: lines_of(folder, language) for language in LANGUAGES}
    for name, count, identify in identifiers():
        yield {
            "text": folder.name,
            "among": name,
            "candidates": count,
            "lines": {language: len(lines) for language, lines in texts.items()},
            "wrong": {
                language: sum(identify(line) != language for line in lines)
                for language, lines in texts.items()
            },
        }


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        shares = (100 * (1 - row["wrong"][one] / row["lines"][one]) for one in LANGUAGES)
        told = " ".join(f"{one} {share:.2f}" for one, share in zip(LANGUAGES, shares, strict=True))
        lines.append(f"{row['text']}, among {row['among']} ({row['candidates']}): {told} % right")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for folder in options.folders:
        for language in LANGUAGES:
            if len(list(folder.glob(f"*.{language}"))) != 1:
                parser.error(f"{folder}: must hold one file *.{language}")
    rows = [row for folder in options.folders for row in measured(folder)]
    if not options.json:
        print(table(rows))
        return
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "library": f"py3langid {version('py3langid')}",
        "hardware": hardware(torch.device("cpu")),
        "versions": package_versions(),
        "twelve": TWELVE,
        "rows": rows,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
