"""The detection corpus that ships with the package: controlled text, and text sampled from the tiny base.

How it was made is in `ksl_bench/make_detection_corpus.py`, what it is in `README.md` and `card.json`.
"""

from pathlib import Path

PATH = Path(__file__).resolve().parent
"""The folder of `<split>.jsonl.gz`: a line a text, with text, label, language and generator."""
