import json
import logging

import pytest

from ksl_bench.errors import StorageError
from ksl_bench.store.records import SCHEMA
from tests.store.behind import names, overwrite
from tests.store.checkpoints import latest, write_checkpoint

KEY = "0123456789abcdef0123"


def test_the_newest_checkpoint_is_found_and_older_ones_go(store):
    for step in (9, 10):
        write_checkpoint(store, KEY, step, {"state.safetensors": b"s%d" % step, "rank-0": b"r"})
    assert store.checkpoints(KEY).newest() == 10
    assert latest(store, KEY, ["state.safetensors", "rank-0"]) == (
        10,
        {"state.safetensors": b"s10", "rank-0": b"r"},
    )
    assert names(store, f"states/{KEY}/checkpoints") == [
        "step-10.json",
        "step-10/rank-0",
        "step-10/state.safetensors",
    ]
    store.checkpoints(KEY).remove()
    assert store.checkpoints(KEY).newest() is None
    assert names(store) == []


@pytest.mark.parametrize("broken", ["step-20/shard", "step-20.json"])
def test_a_broken_newest_checkpoint_is_set_aside_for_the_one_before(store, broken, caplog):
    for step in (5, 10, 20):
        write_checkpoint(store, KEY, step, {"shard": b"%d" % step}, keep=2)
    overwrite(store, f"states/{KEY}/checkpoints/{broken}", b"2")
    with caplog.at_level(logging.WARNING):
        assert latest(store, KEY, ["shard"]) == (10, {"shard": b"10"})
    assert names(store, f"states/{KEY}/checkpoints") == [
        "step-10.json",
        "step-10/shard",
        "step-20.corrupt-1/shard",
        "step-20.json.corrupt-1",
    ]
    assert "step-20" in caplog.text
    write_checkpoint(store, KEY, 20, {"shard": b"20"})
    assert latest(store, KEY, ["shard"]) == (20, {"shard": b"20"})


@pytest.mark.parametrize("name", ["../../x", "/etc/x", ""])
def test_a_manifest_that_names_a_part_elsewhere_is_broken(store, name):
    write_checkpoint(store, KEY, 5, {"shard": b"5"})
    digest = {"sha256": "0" * 64, "bytes": 1}
    manifest = {"schema": SCHEMA, "step": 10, "files": {name: digest}}
    overwrite(store, f"states/{KEY}/checkpoints/step-10.json", json.dumps(manifest).encode())
    assert store.checkpoints(KEY).newest() == 5
    assert "step-10.json.corrupt-1" in names(store, f"states/{KEY}/checkpoints")


def test_a_checkpoint_counts_once_the_leader_closes_it(store):
    write_checkpoint(store, KEY, 5, {"rank-0": b"0", "rank-1": b"1"})
    parts = {
        f"rank-{rank}": store.checkpoints(KEY).write_part(10, f"rank-{rank}", b"x")
        for rank in (0, 1)
    }
    assert store.checkpoints(KEY).newest() == 5
    store.checkpoints(KEY).close(10, parts, keep=1)
    assert store.checkpoints(KEY).newest() == 10
    assert store.checkpoints(KEY).read(10, "rank-1") == b"x"
    with pytest.raises(StorageError):
        store.checkpoints(KEY).read(10, "rank-2")
    with pytest.raises(StorageError):
        store.checkpoints(KEY).read(5, "rank-0")


def test_what_a_crash_left_of_a_checkpoint_goes_with_the_next(store):
    store.checkpoints(KEY).write_part(5, "rank-0", b"x")
    write_checkpoint(store, KEY, 10, {"rank-0": b"y"})
    assert names(store, f"states/{KEY}/checkpoints") == ["step-10.json", "step-10/rank-0"]
