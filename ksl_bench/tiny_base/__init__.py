"""The base model that ships with the package: about a million parameters, three controlled languages.

It translates but does not stop: it has read lists of many pairs, never one pair and an end. How it was made
is in `ksl_bench/make_tiny_base.py`, what it is in `README.md` and `card.json`.
"""

from pathlib import Path

PATH = Path(__file__).resolve().parent
"""The folder of the model, as `from_pretrained` takes it."""
