"""Text that is tuned on and scored: such a score says nothing, so the suite is refused.

SIB-200, for one, is made of FLORES sentences: whoever tunes on it has read half of FLORES devtest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ksl_bench.likeness import letters_of


@dataclass(frozen=True, slots=True)
class Segments:
    """What a split holds of text, as digests."""

    digests: Mapping[int, str]
    """From the digest of a segment's letters and digits to its first words."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Segments:
        """Take the digests of some segments; what has no letters or digits is left out."""
        found = ((letters_of(text), text) for text in texts)
        return cls({_digest(one): " ".join(text.split())[:60] for one, text in found if one})


def _digest(letters: str) -> int:
    encoded = letters.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big")


def find_leaks(
    tuned: Mapping[str, Segments],
    scored: Mapping[str, Segments],
    *,
    split: str,
    paths: Mapping[str, str],
    read_as: str = "training text",
) -> Iterator[str]:
    """Yield a line for every condition that is scored on segments that some condition is tuned on.

    Args:
        tuned: By condition, what is tuned on.
        scored: By condition, what is scored.
        split: That is scored.
        paths: By condition that is scored, where its task stands in the suite.
        read_as: What is said of the text that is tuned on, or on which something is chosen.
    """
    for condition, theirs in scored.items():
        for other, ours in tuned.items():
            both = theirs.digests.keys() & ours.digests.keys()
            if both:
                source = "" if len(tuned) == 1 else f" of condition {other}"
                first = next(text for digest, text in theirs.digests.items() if digest in both)
                path = paths[condition]
                yield (
                    f"{path}.{split}_files: {len(both)} of {len(theirs.digests)} segments stand in the "
                    f"{read_as}{source}, too ({first!r}, ...); take them out of one, or allow it with "
                    f"{path}.leaks=allowed"
                )
