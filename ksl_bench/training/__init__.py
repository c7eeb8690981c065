"""One state from one method: the DeepSpeed engine and the loop that drives it."""
