"""What stands on a bill comes from records, and a lost one is told."""

from types import SimpleNamespace

import pytest

from ksl_bench.errors import StorageError
from ksl_bench.store import Store
from ksl_bench.worker.bills import cost_of

KEY = "0" * 20


def test_a_source_that_is_gone_costs_an_error_and_not_nothing(tmp_path):
    warm = SimpleNamespace(store=Store(str(tmp_path)))
    with pytest.raises(StorageError, match=f"state {KEY} is gone, so what it cost is not known"):
        cost_of(warm, "state", KEY)
    warm.store.fail("state", KEY, "failed", "no room")
    with pytest.raises(StorageError, match="is gone"):
        cost_of(warm, "state", KEY)
