"""Checkpoints written and read whole, as one worker alone would do it."""

from ksl_bench.store import Store


def write_checkpoint(store: Store, key, step, files, *, keep=1):
    """Write a whole checkpoint, then remove older ones."""
    checkpoints = store.checkpoints(key)
    parts = {name: checkpoints.write_part(step, name, content) for name, content in files.items()}
    checkpoints.close(step, parts, keep=keep)


def latest(store: Store, key, names):
    """The step of the newest whole checkpoint and its parts; None if there is none."""
    checkpoints = store.checkpoints(key)
    step = checkpoints.newest()
    return None if step is None else (step, {name: checkpoints.read(step, name) for name in names})
