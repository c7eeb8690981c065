"""Text in: corpora, prompts, batches."""
