"""Artifacts by key: read, write atomically, verify; in a folder or an object store."""

from ksl_bench.store.artifacts import Store, key_of

__all__ = ["Store", "key_of"]
