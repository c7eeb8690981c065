import io
import uuid
import zipfile

import fsspec
import pytest

from ksl_bench.errors import StorageError
from ksl_bench.store import Store, key_of
from ksl_bench.store.bundles import Bundle, bundle_of, forget_bundles, read_together
from ksl_bench.store.files import Files
from tests.store.behind import names, overwrite

KEYS = [key_of({"evaluation": number}) for number in range(3)]
ROWS = [{"evaluation": key, "scored_under": "default"} for key in KEYS]


@pytest.fixture(params=["memory", "s3"])
def store(request):
    root = "memory:/" if request.param == "memory" else request.getfixturevalue("bucket")
    store = Store(f"{root}/{uuid.uuid4().hex}")
    for number, key in enumerate(KEYS):
        store.finish("evaluation", key, {"seed": number}, {"x": b"%d" % number})
    return store


def read(store):
    """Every result, as a leaderboard reads it."""
    records = [store.record("evaluation", key) for key in KEYS]
    return [(one["seed"], store.read_bytes("evaluation", one["key"], "x")) for one in records]


def bundled(store):
    bundle = Bundle(store, ROWS)
    found = read(bundle.store)
    bundle.keep()
    return found


def test_what_was_read_once_is_read_from_one_file(store, monkeypatch):
    assert bundled(store) == [(0, b"0"), (1, b"1"), (2, b"2")]
    asked = []
    before = Files.read
    monkeypatch.setattr(
        Files, "read", lambda files, path: asked.append(path) or before(files, path)
    )
    monkeypatch.setattr(Files, "write", lambda *_: pytest.fail("there was nothing new"))
    assert bundled(store) == [(0, b"0"), (1, b"1"), (2, b"2")]
    assert asked == [bundle_of(ROWS)]


def test_a_bundle_is_a_zip_of_the_files_by_their_paths(store):
    bundled(store)
    fs, base = fsspec.core.url_to_fs(store.root)
    archive = zipfile.ZipFile(io.BytesIO(fs.cat_file(f"{base}/{bundle_of(ROWS)}")))
    assert archive.read(f"evaluations/{KEYS[2]}/x") == b"2"
    assert sorted(archive.namelist()) == sorted(
        f"evaluations/{key}/{name}" for key in KEYS for name in ("result.json", "x")
    )


def test_other_rows_have_another_bundle_and_their_order_does_not_matter(store):
    assert bundle_of(ROWS[::-1]) == bundle_of([*ROWS, ROWS[0]]) == bundle_of(ROWS)
    assert bundle_of(ROWS[:2]) != bundle_of(ROWS)
    assert read_together([*ROWS, {**ROWS[0], "scored_under": "other"}]) == {
        "default": ROWS,
        "other": [{**ROWS[0], "scored_under": "other"}],
    }


def test_a_broken_bundle_is_set_aside_and_made_again(store):
    bundled(store)
    whole = store.files.read(bundle_of(ROWS))
    place = whole.index(b"1", whole.index(f"{KEYS[1]}/x".encode()) + 22)
    overwrite(store, bundle_of(ROWS), whole[:place] + b"7" + whole[place + 1 :])
    assert read(Bundle(store, ROWS).store) == [(0, b"0"), (1, b"1"), (2, b"2")]
    assert names(store, "bundles") == [f"{bundle_of(ROWS)[8:]}.corrupt-1"]
    bundled(store)
    assert store.files.read(bundle_of(ROWS)) == whole


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"\0" * 40])
def test_what_is_no_zip_holds_nothing(store, content):
    overwrite(store, bundle_of(ROWS), content)
    assert bundled(store) == [(0, b"0"), (1, b"1"), (2, b"2")]


def test_a_copy_is_checked_as_its_original_is_which_is_left_alone(store):
    """Here a copy that someone changed, in a zip that is whole."""
    bundled(store)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"evaluations/{KEYS[0]}/x", b"forged")
    overwrite(store, bundle_of(ROWS), buffer.getvalue())
    bundle = Bundle(store, ROWS)
    with pytest.raises(StorageError):
        read(bundle.store)
    assert bundle.used
    bundle.drop()
    assert names(store, "bundles") == [f"{bundle_of(ROWS)[8:]}.corrupt-1"]
    assert read(store) == bundled(store) == [(0, b"0"), (1, b"1"), (2, b"2")]


@pytest.mark.parametrize("there", [None, b"no zip"])
def test_where_nothing_can_be_written_everything_is_read_the_long_way(store, there, monkeypatch):
    if there is not None:
        overwrite(store, bundle_of(ROWS), there)
    before = names(store, "bundles")

    def refuse(files, *_):
        raise StorageError("read only")

    monkeypatch.setattr(Files, "write", refuse)
    monkeypatch.setattr(Files, "_move", refuse)
    for _ in range(2):
        assert bundled(store) == [(0, b"0"), (1, b"1"), (2, b"2")]
    assert names(store, "bundles") == before


def test_whoever_makes_a_result_anew_forgets_the_copies(store):
    bundled(store)
    forget_bundles(store, ROWS, {"another one"})
    assert store.files.read(bundle_of(ROWS)) is not None
    forget_bundles(store, ROWS, {KEYS[1]})
    store.finish("evaluation", KEYS[1], {"seed": 7}, {"x": b"7"})
    assert bundled(store) == [(0, b"0"), (7, b"7"), (2, b"2")]
    forget_bundles(store, ROWS)
    assert names(store, "bundles") == []


def test_a_folder_has_none(local):
    for number, key in enumerate(KEYS):
        local.finish("evaluation", key, {"seed": number}, {"x": b"%d" % number})
    bundle = Bundle(local, ROWS)
    assert bundle.store is local
    bundle.keep()
    forget_bundles(local, ROWS)
    assert names(local, "bundles") == []
