"""The second base model that ships with the package: as `tiny_base`, for five controlled languages.

What it is stands in `README.md` and `card.json`.
"""

from pathlib import Path

PATH = Path(__file__).resolve().parent
"""The folder of the model, as `from_pretrained` takes it."""
