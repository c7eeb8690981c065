"""Which columns of a row hold the source and the target."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksl_bench.data.languages import to_iso6391


@dataclass(frozen=True, slots=True)
class Languages:
    """The two languages of a corpus, and what their columns are called if a user said so."""

    source: str
    """ISO 639-3, perhaps with a script: "eng", "zho_Hant"."""
    target: str
    columns: tuple[str, str] | None = None


def find_columns(
    row: Mapping[str, Any], languages: Languages
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the path of the source and of the target in a row.

    They are the columns a user named, else called by the language codes (as they are, in ISO 639-3,
    in ISO 639-1), else "source" and "target"; on the Hugging Face hub often inside "translation".

    Returns:
        Two paths, e.g. ("translation", "en") and ("translation", "ca"), or None if there are none.
    """
    inner = row.get("translation")
    for prefix, level in ((), row), (("translation",), inner):
        if not isinstance(level, Mapping):
            continue
        for source, target in wanted_columns(languages):
            if source in level and target in level:
                return (*prefix, source), (*prefix, target)
    return None


def wanted_columns(languages: Languages) -> list[tuple[str, str]]:
    """Return the pairs of names that the two columns may have, the first found is used."""
    if languages.columns is not None:
        return [languages.columns]
    codes = itertools.product(_forms(languages.source), _forms(languages.target))
    return [*codes, ("source", "target")]


def _forms(code: str) -> tuple[str, ...]:
    """Return the forms of a language code that occur as names of columns."""
    language = code.split("_")[0]
    forms = dict.fromkeys((code, language, to_iso6391(language)))
    return tuple(form for form in forms if form is not None)


def missing_columns(row: Mapping[str, Any], languages: Languages) -> str:
    """Return the line that says which columns were looked for, and which there are."""
    wanted = " or ".join(f"{one} and {other}" for one, other in wanted_columns(languages))
    there = list(row)
    inner = row.get("translation")
    if isinstance(inner, Mapping):
        there += [f"translation.{name}" for name in inner]
    return f"no columns {wanted}; there are {', '.join(map(str, there)) or 'none'}"
