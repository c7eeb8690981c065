import pytest

from ksl_bench.errors import StorageError
from tests.store.behind import overwrite


def test_plans_are_kept_by_name(store, caplog):
    store.plans.write("paper", {"rows": [1]})
    store.plans.write("quick-start.v2_x", {"rows": []})
    assert store.plans.names() == ["paper", "quick-start.v2_x"]
    assert store.plans.read("paper")["rows"] == [1]
    overwrite(store, "suites/paper.json", b"{")
    assert store.plans.read("paper") is None
    assert store.plans.names() == ["quick-start.v2_x"]
    assert "paper.json" in caplog.text


def test_earlier_plans_are_kept_where_they_say_something_else(store, monkeypatch):
    stamps = iter(f"2026112{day}T000000Z" for day in range(1, 9))

    class Clock:
        @staticmethod
        def now(zone):
            return Clock()

        def strftime(self, form):
            return next(stamps)

    monkeypatch.setattr("ksl_bench.store.plans.datetime", Clock)
    store.plans.write("paper", {"rows": [1]})
    store.plans.write("paper", {"rows": [1]})  # the same again
    assert store.plans.past("paper") == []
    store.plans.write("paper", {"rows": [2]})
    store.plans.write("paper-2", {"rows": []})
    assert store.plans.past("paper") == ["20261121T000000Z"]
    assert store.plans.read("paper", "20261121T000000Z")["rows"] == [1]
    assert store.plans.read("paper")["rows"] == [2]
    assert store.plans.names() == ["paper", "paper-2"]
    with pytest.raises(StorageError, match="not the stamp of a plan"):
        store.plans.read("paper", "../x")
