"""When two texts count as the same: what of a text is compared."""

from __future__ import annotations

import unicodedata


def wording_of(text: str) -> str:
    """Return a text whatever its case and white space: what tells labels and answers apart."""
    return " ".join(text.split()).casefold()


def letters_of(text: str) -> str:
    """Return a text's letters, marks and digits, in NFKC and without case.

    So quotes, dashes, white space and the composition of accents tell no two segments apart. Marks stay: in
    Devanagari, say, they are the vowels.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(one for one in plain if unicodedata.category(one)[0] in "LMN")
