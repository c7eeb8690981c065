"""Languages by code: ISO 639-3 inside, other forms at the edges.

A code may carry a script, as FLORES-200 writes it: `zho_Hant`.
"""

from __future__ import annotations

import langcodes
from langcodes.tag_parser import LanguageTagError

from ksl_bench.errors import DataError

_UNNAMED = "Unknown language"
"""How langcodes begins the name of a code that is well-formed but stands for nothing."""


def language_name(code: str) -> str:
    """Return the English name of a language, as prompts use it.

    The script is named only where it is not the one the language is usually written in:
    `cat_Latn` is "Catalan", `zho_Hant` is "Chinese (Traditional)".

    Args:
        code: ISO 639-3 or 639-1, perhaps with a script, e.g. "cat", "ca", "cat_Latn".

    Raises:
        DataError: If there is no such language.

    Source: names from Unicode CLDR, through langcodes.
    """
    tag = _known(code)
    usual = langcodes.Language.make(language=tag.language).maximize().script
    if tag.script is not None and tag.script != usual:
        return str(tag.display_name())
    return str(tag.language_name())


def to_iso6393(code: str) -> str:
    """Return the ISO 639-3 code of a language: "en" gives "eng"; a script is left out.

    Raises:
        DataError: If there is no such language.
    """
    return str(_known(code).to_alpha3())


def to_iso6391(code: str) -> str | None:
    """Return the ISO 639-1 code of a language, None where it has none: "eng" gives "en".

    Raises:
        DataError: If there is no such language.
    """
    short = langcodes.standardize_tag(_known(code).to_alpha3())
    return short if len(short) == 2 else None


def macrolanguage(code: str) -> str:
    """Return the macrolanguage whose usual member a language is, else its own code: "swh" gives "sw".

    Raises:
        DataError: If there is no such language.

    Source: Unicode CLDR, through langcodes.
    """
    return str(_known(code).prefer_macrolanguage().language)


def _known(code: str) -> langcodes.Language:
    """Return the language that a code stands for."""
    try:
        tag = langcodes.Language.get(code)
        if tag.is_valid() and not tag.language_name().startswith(_UNNAMED):
            return tag
    except LanguageTagError:
        pass
    raise DataError(f"unknown language {code!r}.{_hint(code)}")


def _hint(code: str) -> str:
    """Return " Did you mean 'cat' (Catalan)?" for a name, else what a code looks like."""
    try:
        if len(code) <= 3:  # meant as a code, so the language called "E" or "To" is no answer
            raise LookupError
        found = langcodes.find(code)
    except LookupError:
        return " Languages are ISO 639-3 codes of three letters, such as eng, cat, deu"
    return f" Did you mean {found.to_alpha3()!r} ({found.language_name()})?"
