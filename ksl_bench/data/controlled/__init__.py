"""The embedded controlled corpus: English, Catalan, German, Spanish and Danish sentences of one meaning.

A small grammar draws meanings (who does what to whom, where, when) and renders each in every language:
with gender, number and case agreement, Catalan and Spanish adjectives behind the noun and time in front,
German and Danish verbs in second place, Danish definite suffixes. The words are in `lexicon.yaml`.

A sentence belongs to train, dev or devtest by a hash of its meaning, so the splits are disjoint in every
language by construction, whatever is drawn, and whoever draws it: the text that the shipped base models were
pretrained on (`documents.py`) comes from the train side too.
"""

from ksl_bench.data.controlled.documents import BASE_LANGUAGES, Segment, pretraining_documents
from ksl_bench.data.controlled.grammar import LANGUAGES, NAMES, render
from ksl_bench.data.controlled.splits import (
    SPLITS,
    Split,
    controlled_pairs,
    controlled_segments,
    split_of,
)
from ksl_bench.data.controlled.vocabulary import language_of

__all__ = [
    "BASE_LANGUAGES",
    "LANGUAGES",
    "NAMES",
    "SPLITS",
    "Segment",
    "Split",
    "controlled_pairs",
    "controlled_segments",
    "language_of",
    "pretraining_documents",
    "render",
    "split_of",
]
