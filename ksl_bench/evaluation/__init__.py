"""One state scored: generation, metrics, their uncertainty."""
