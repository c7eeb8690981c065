import hashlib
import json
import logging
import math
import os
import pickle
import uuid
from pathlib import Path

import pytest

from ksl_bench.errors import StorageError
from ksl_bench.store import Store, key_of
from tests.store.behind import names, overwrite

KEY = "0123456789abcdef0123"
OTHER = "f" * 20
ESCAPES = ["", "..", "../x", "/etc", "a/b", "0123456789ABCDEF0123", KEY + "0", KEY + "\n"]


# Keys.


def test_a_key_is_the_hash_of_canonical_json():
    text = '{"a":[1,0.1,null,true],"b":{"c":"\\u00e9"}}'  # written by hand
    expected = hashlib.sha256(text.encode()).hexdigest()[:20]
    assert key_of({"b": {"c": "é"}, "a": (1, 0.1, None, True)}) == expected


def test_a_key_tells_apart_what_differs():
    values = [1, 1.0, True, "1", None, [1], {"x": 1}, "", 0.1 + 0.2, 0.3]
    assert len({key_of({"value": value}) for value in values}) == len(values)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, {1}, b"x", object(), {1: "x"}, [{(1, 2): 3}], Path("x")]
)
def test_a_key_refuses_what_json_cannot_hold(value):
    with pytest.raises(TypeError):
        key_of({"value": value})


# Records.


def test_a_finished_artifact_is_found_with_digests_from_elsewhere(store):
    store.finish("state", KEY, {"seed": 3}, {"state.safetensors": b"abc", "config.yaml": b""})
    record = store.record("state", KEY)
    assert record is not None
    assert record["files"] == {
        # FIPS 180-2, appendix B.1, and the well-known digest of nothing
        "state.safetensors": {
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "bytes": 3,
        },
        "config.yaml": {
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "bytes": 0,
        },
    }
    assert {
        name: record[name] for name in ("schema", "kind", "key", "status", "reason", "seed")
    } == {
        "schema": 3,
        "kind": "state",
        "key": KEY,
        "status": "finished",
        "reason": None,
        "seed": 3,
    }
    assert store.is_finished("state", KEY)
    assert store.read_bytes("state", KEY, "state.safetensors") == b"abc"
    with store.open_file("state", KEY, "state.safetensors") as file:
        assert file.read() == b"abc"


def test_the_layout_is_the_contract(store):
    store.finish("state", KEY, {}, {"state.safetensors": b"s", "config.yaml": b"c"})
    store.append_lines("state", KEY, "metrics.jsonl", ["{}"])
    store.finish("ticket", KEY, {}, {"ticket": b"t"})
    store.finish("evaluation", KEY, {}, {"outputs.jsonl": b"o"})
    store.plans.write("quickstart", {"rows": []})
    assert names(store) == [
        f"evaluations/{KEY}/outputs.jsonl",
        f"evaluations/{KEY}/result.json",
        f"states/{KEY}/config.yaml",
        f"states/{KEY}/metrics.jsonl",
        f"states/{KEY}/state.json",
        f"states/{KEY}/state.safetensors",
        "suites/quickstart.json",
        f"tickets/{KEY}.json",
        f"tickets/{KEY}.safetensors",
    ]


def test_many_are_read_in_their_order(store):
    assert list(store.files.side_by_side(lambda number: number**2, range(700))) == [
        number**2 for number in range(700)
    ]


def test_a_file_of_this_machine_is_copied(store, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 3_000_001)
    store.finish("state", KEY, {}, {"state.safetensors": tmp_path / "big"})
    assert store.read_bytes("state", KEY, "state.safetensors") == b"x" * 3_000_001


def test_what_is_not_there_is_absent(store):
    assert store.record("evaluation", KEY) is None
    assert not store.is_finished("evaluation", KEY)
    assert store.read_lines("state", KEY, "metrics.jsonl") == []
    assert store.checkpoints(KEY).newest() is None
    assert store.plans.read("quickstart") is None
    assert store.plans.names() == []
    assert list(store.results()) == []
    store.checkpoints(KEY).remove()
    with pytest.raises(StorageError, match=f"no ticket {KEY}"):
        store.read_ticket(KEY)


def test_files_without_a_record_are_absent(store):
    overwrite(store, f"states/{KEY}/state.safetensors", b"crashed before the record")
    assert store.record("state", KEY) is None


def test_a_crash_while_an_artifact_is_made_again_leaves_it_absent(local, monkeypatch):
    local.finish("state", KEY, {}, {"state.safetensors": b"old"})
    monkeypatch.setattr("ksl_bench.store.artifacts.render_record", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        local.finish("state", KEY, {}, {"state.safetensors": b"new"})
    assert local.record("state", KEY) is None


def test_a_failure_has_a_record_and_can_be_overcome(store):
    store.fail("state", KEY, "out_of_memory", "needs 80 GiB")
    record = store.record("state", KEY)
    assert (record["status"], record["reason"]) == ("out_of_memory", "needs 80 GiB")
    assert not store.is_finished("state", KEY)
    with pytest.raises(StorageError, match="out_of_memory"):
        store.read_bytes("state", KEY, "state.safetensors")
    store.finish("state", KEY, {}, {"state.safetensors": b"s"})
    assert store.is_finished("state", KEY)


def test_an_unknown_status_is_a_mistake_of_the_caller(store):
    with pytest.raises(ValueError, match="done"):
        store.finish("state", KEY, {"status": "done"})


def test_numbers_that_are_not_finite_become_null(store):
    store.finish("evaluation", KEY, {"scores": [math.nan, -math.inf, 1.5]})
    assert store.record("evaluation", KEY)["scores"] == [None, None, 1.5]


def test_a_record_cannot_claim_another_identity(store):
    store.finish("state", KEY, {"key": OTHER, "kind": "ticket", "schema": 9, "files": {"x": 1}})
    record = store.record("state", KEY)
    assert (record["key"], record["kind"], record["schema"]) == (KEY, "state", 3)
    assert record["files"] == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"schema": 1, "kind": "evaluation", "key": "0123456',
        b"[]",
        b"\xff\xfe",
        b"null",
        json.dumps(
            {"schema": 1, "kind": "evaluation", "key": OTHER, "status": "finished", "files": {}}
        ).encode(),
        json.dumps(
            {"schema": 1, "kind": "state", "key": KEY, "status": "finished", "files": {}}
        ).encode(),
        json.dumps(
            {"schema": 1, "kind": "evaluation", "key": KEY, "status": "done", "files": {}}
        ).encode(),
        json.dumps({"schema": 1, "kind": "evaluation", "key": KEY, "status": "finished"}).encode(),
    ],
)
def test_a_broken_record_is_set_aside_with_a_warning(store, content, caplog):
    path = f"evaluations/{KEY}/result.json"
    for number in (1, 2):
        overwrite(store, path, content)
        with caplog.at_level(logging.WARNING):
            assert store.record("evaluation", KEY) is None
        assert f"result.json.corrupt-{number}" in names(store, f"evaluations/{KEY}")
    assert "result.json.corrupt-2" in caplog.text
    assert list(store.results()) == []
    store.finish("evaluation", KEY, {})
    assert store.is_finished("evaluation", KEY)


def test_a_record_of_a_newer_version_is_left_alone(store):
    overwrite(store, f"states/{KEY}/state.json", b'{"schema": 4}')
    with pytest.raises(StorageError, match="newer version"):
        store.record("state", KEY)
    assert names(store) == [f"states/{KEY}/state.json"]


def test_results_are_the_records_of_evaluations_by_key(store):
    for key in (OTHER, KEY):
        store.finish("evaluation", key, {})
    store.finish("state", KEY, {})
    overwrite(store, "evaluations/notes.txt", b"mine")
    assert [one["key"] for one in store.results()] == [KEY, OTHER]


# Digests.


@pytest.mark.parametrize("read", [Store.read_bytes, Store.open_file])
@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("state", "state.safetensors", f"states/{KEY}/state.safetensors"),
        ("ticket", "ticket", f"tickets/{KEY}.safetensors"),
        ("evaluation", "outputs.jsonl", f"evaluations/{KEY}/outputs.jsonl"),
    ],
)
def test_a_flipped_bit_sets_the_artifact_aside(store, kind, name, path, read, caplog):
    store.finish(kind, KEY, {}, {name: b"abc"})
    overwrite(store, path, b"abb")
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match=f"{kind} {KEY}"):
        read(store, kind, KEY, name)
    assert store.record(kind, KEY) is None
    assert all(".corrupt-1" in one for one in names(store))
    assert len(names(store)) == 2
    store.finish(kind, KEY, {}, {name: b"abc"})
    assert store.read_bytes(kind, KEY, name) == b"abc"


def test_without_verification_what_is_there_is_returned(store):
    store.finish("state", KEY, {}, {"state.safetensors": b"abc"})
    overwrite(store, f"states/{KEY}/state.safetensors", b"abb")
    assert store.read_bytes("state", KEY, "state.safetensors", verify=False) == b"abb"
    with pytest.raises(StorageError, match=r"no such file"):
        store.read_bytes("state", KEY, "config.yaml", verify=False)


def test_a_missing_file_sets_the_artifact_aside(local):
    local.finish("state", KEY, {}, {"state.safetensors": b"abc"})
    Path(local.root, "states", KEY, "state.safetensors").unlink()
    with pytest.raises(StorageError, match="is missing"):
        local.read_bytes("state", KEY, "state.safetensors")
    assert local.record("state", KEY) is None


def test_a_file_that_the_record_does_not_name_is_not_read(store):
    store.finish("state", KEY, {}, {"state.safetensors": b"abc"})
    with pytest.raises(StorageError, match=r"has no file config\.yaml"):
        store.read_bytes("state", KEY, "config.yaml")
    assert store.is_finished("state", KEY)


# Writing.


def test_a_local_write_is_whole_or_not_there(local, monkeypatch):
    local.finish("ticket", KEY, {}, {"ticket": b"old"})
    before = names(local)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        local.plans.write("quickstart", {})
    assert names(local) == before


def test_files_can_be_read_by_colleagues(local):
    mask = os.umask(0o022)
    try:
        local.plans.write("quickstart", {})
    finally:
        os.umask(mask)
    assert Path(local.root, "suites/quickstart.json").stat().st_mode & 0o777 == 0o644


# Lines.


def test_lines_are_written_appended_and_read(store):
    store.append_lines("state", KEY, "metrics.jsonl", ["1"])
    store.append_lines("state", KEY, "metrics.jsonl", ["2", "3\u2028é"])
    assert store.read_lines("state", KEY, "metrics.jsonl") == ["1", "2", "3\u2028é"]
    store.write_lines("state", KEY, "metrics.jsonl", ["4"])
    assert store.read_lines("state", KEY, "metrics.jsonl") == ["4"]
    with pytest.raises(ValueError, match="newline"):
        store.append_lines("state", KEY, "metrics.jsonl", ["a\nb"])


def test_a_line_cut_short_by_a_crash_is_dropped(store):
    overwrite(store, f"states/{KEY}/metrics.jsonl", b'1\n2\n{"st')
    assert store.read_lines("state", KEY, "metrics.jsonl") == ["1", "2"]
    store.append_lines("state", KEY, "metrics.jsonl", ["3"])
    assert store.read_lines("state", KEY, "metrics.jsonl") == ["1", "2", "3"]


# Where the store is.


@pytest.mark.parametrize("key", ESCAPES)
def test_no_key_leaves_the_root(store, key):
    for kind in ("state", "ticket", "evaluation"):
        with pytest.raises(StorageError):
            store.record(kind, key)
    with pytest.raises(StorageError):
        store.checkpoints(key).write_part(1, "x", b"")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", ".hidden", "a\x00", "x\n"])
def test_no_name_leaves_the_root(store, name):
    with pytest.raises(StorageError):
        store.plans.write(name, {})
    with pytest.raises(StorageError):
        store.finish("state", KEY, {}, {name: b""})
    with pytest.raises(StorageError):
        store.checkpoints(KEY).write_part(1, name, b"")
    with pytest.raises(StorageError):
        store.location(name)
    assert names(store) == []


def test_records_are_no_files_and_kinds_are_known(store):
    with pytest.raises(StorageError, match=r"state\.json"):
        store.finish("state", KEY, {}, {"state.json": b""})
    with pytest.raises(StorageError, match="one file"):
        store.finish("ticket", KEY, {}, {"other": b""})
    with pytest.raises(StorageError, match="Known: state, ticket, evaluation"):
        store.record("run", KEY)


def test_a_folder_is_absolute_and_the_store_travels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("results")
    assert store.root == str(store) == str(tmp_path / "results")
    assert not Path("results").exists()
    store.finish("state", KEY, {})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copied = pickle.loads(pickle.dumps(store))
    assert copied.root == store.root
    assert copied.is_finished("state", KEY)
    assert store.location("ray") == str(tmp_path / "results" / "ray")


def test_a_uri_is_kept_and_travels():
    root = f"memory://{uuid.uuid4().hex}/results"
    store = Store(root + "/")
    assert store.root == root
    store.finish("state", KEY, {})
    assert pickle.loads(pickle.dumps(store)).is_finished("state", KEY)
    assert store.location("ray") == f"{root}/ray"


def test_a_file_uri_is_a_folder(tmp_path):
    assert Store(f"file://{tmp_path}/results").root == str(tmp_path / "results")


def test_an_unknown_protocol_is_one_line():
    with pytest.raises(StorageError, match="nonsense") as caught:
        Store("nonsense://bucket/x")
    assert "\n" not in str(caught.value)


def test_a_writable_store_is_left_as_it_was(store, tmp_path):
    store.check_writable()
    assert names(store) == []
    assert list(tmp_path.iterdir()) == []
    store.plans.write("quickstart", {})
    store.check_writable()
    assert names(store) == ["suites/quickstart.json"]


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "results").write_text("mine")
    for root in ("results", "results/below/it"):
        with pytest.raises(StorageError) as caught:
            Store(str(tmp_path / root)).check_writable()
        assert str(caught.value).startswith(f"{tmp_path / root}: cannot be written: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(StorageError):
        Store(str(tmp_path / "results")).plans.write("quickstart", {})
    assert (tmp_path / "results").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder is closed to root")
def test_a_closed_folder_is_told(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            Store(str(tmp_path / "results")).check_writable()
    finally:
        tmp_path.chmod(0o700)


def test_a_broken_object_store_is_one_line(monkeypatch):
    import fsspec.implementations.memory

    class ClientError(Exception):
        pass

    def refuse(self, path, value, **options):
        raise ClientError("An error occurred (AccessDenied)\nwhen calling PutObject")

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(StorageError) as caught:
        Store("memory://bucket/results").check_writable()
    assert caught.value.problems == (
        "memory://bucket/results: cannot be written: "
        "An error occurred (AccessDenied) when calling PutObject",
    )
