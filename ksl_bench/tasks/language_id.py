"""In which language a hypothesis is: told by a library on real text, exactly on the controlled corpus.

An off-target rate is only worth what the identification is; how often it is right on real text stands in
`docs/directions.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from ksl_bench.data.controlled import language_of
from ksl_bench.data.languages import macrolanguage, to_iso6391
from ksl_bench.errors import DataError

UNKNOWN = "unknown"
"""The language of a text that is in none of the candidates, in several at once, or empty."""

_OWN_CODES = {"nb": "no", "fil": "tl", "tgl": "tl"}
"""What the library calls Norwegian Bokmal and Tagalog (Filipino)."""

Identify = Callable[[str], str]
"""From a text to the code of a language, or UNKNOWN."""


def controlled_identifier() -> Identify:
    """Return the exact check of the controlled languages."""
    return lambda text: language_of(text) or UNKNOWN


@cache
def text_identifier(candidates: tuple[str, ...]) -> Identify:
    """Return an identifier of real text that chooses among candidates.

    Args:
        candidates: ISO 639-3 codes, perhaps with a script: "eng", "zho_Hant".

    Raises:
        DataError: If one is unknown to the library, or takes two for one (of another script, say).

    Source: langid (Lui and Baldwin, 2012), with the model that py3langid ships.
    """
    library = LanguageIdentifier.from_model_file(MODEL_FILE)
    by_label = _labels(candidates, known=library.labels)
    library.set_languages(list(by_label))

    def identify(text: str) -> str:
        if not any(letter.isalpha() for letter in text):
            return UNKNOWN
        return by_label[library.classify(text)[0]]

    return identify


def _labels(candidates: Iterable[str], *, known: Container[str]) -> dict[str, str]:
    """Return candidates by the library's own codes, of two letters where there are two."""
    found: dict[str, str] = {}
    problems = []
    for code in candidates:
        label = _label_of(code, known)
        if label is None:
            problems.append(f"language identification does not know {code!r}")
        elif label in found:
            problems.append(f"language identification cannot tell {found[label]!r} from {code!r}")
        else:
            found[label] = code
    if problems:
        raise DataError(problems)
    return found


def _label_of(code: str, known: Container[str]) -> str | None:
    """Return the library's code of a language, None if it knows none.

    Failing the language's own, that of the macrolanguage whose usual member it is: "sw" of "swh".
    """
    short = to_iso6391(code) or code[:3]
    forms = (short, _OWN_CODES.get(short), macrolanguage(short))
    return next((one for one in forms if one in known), None)
