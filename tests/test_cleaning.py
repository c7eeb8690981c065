"""What may go from a store, and what must stay."""

import json
import os
import time

import pytest

from ksl_bench.cleaning import DAY, broken_plans, find_waste, remove_waste
from ksl_bench.store import Store, key_of
from ksl_bench.store.audits import Audits, write_audit
from ksl_bench.store.bundles import bundle_of
from tests.store.checkpoints import write_checkpoint

NOBODYS = "nobody's"
LATER = time.time() + 2 * DAY


def key(name):
    return key_of({"name": name})


@pytest.fixture
def store(tmp_path):
    """Two suites that share a state, an artifact of neither, a broken one, leftovers of Ray."""
    store = Store(str(tmp_path / "store"))
    for name in ("shared", "own", NOBODYS):
        store.finish("state", key(name), {"cost": {}}, {"state.safetensors": b"x" * 1000})
        store.finish("evaluation", key(name), {}, {"outputs.jsonl": b"{}\n"})
        store.finish("ticket", key(name), {}, {"ticket": b"t"})
        write_audit(store, key(name), {"text": "t"})
    write_checkpoint(store, key("shared"), 5, {"state.safetensors": b"c" * 100})
    write_checkpoint(store, key("under way"), 5, {"state.safetensors": b"c" * 100})
    for suite, names in (("one", ["shared"]), ("two", ["shared", "own", "under way"])):
        rows = [
            {"state": key(n), "ticket": key(n), "evaluation": key(n), "source_state": None}
            | {"scored_under": "default"}
            for n in names
        ]
        store.plans.write(suite, {"rows": rows})
    broken = tmp_path / f"store/evaluations/{key('own')}.corrupt-1"
    broken.mkdir()
    (broken / "outputs.jsonl").write_text("x")
    (tmp_path / "store/ray/run").mkdir(parents=True)
    (tmp_path / "store/ray/run/state").write_text("x")
    return store


def paths(waste):
    return {one.path for one in waste}


def test_what_a_row_rests_on_beside_its_own_artifacts_stays(store):
    plan = store.plans.read("two")
    plan["rows"][0]["earlier"] = [["state", key(NOBODYS), "step one"]]
    store.plans.write("two", plan)
    found = paths(find_waste(store, now=LATER))
    assert f"states/{key(NOBODYS)}" not in found
    assert f"evaluations/{key(NOBODYS)}" in found


def test_what_no_plan_names_goes_and_the_rest_stays(store):
    waste = find_waste(store, now=LATER)
    assert paths(waste) == {
        f"states/{key(NOBODYS)}",
        f"evaluations/{key(NOBODYS)}",
        f"tickets/{key(NOBODYS)}.safetensors",
        f"tickets/{key(NOBODYS)}.json",
        f"audits/{key(NOBODYS)}.json",
        f"evaluations/{key('own')}.corrupt-1",
        f"states/{key('shared')}/checkpoints",
        "ray",
    }
    assert remove_waste(store, waste) > 1000
    assert find_waste(store, now=LATER) == []
    assert store.is_finished("state", key("shared"))
    assert store.is_finished("ticket", key("own"))
    assert Audits(store).read(key("own"), text="t") is not None
    assert store.checkpoints(key("under way")).newest() == 5
    assert store.record("state", key(NOBODYS)) is None
    assert store.plans.names() == ["one", "two"]


def test_what_is_young_stays_for_a_sweep_under_way_has_no_plan_yet(store):
    assert not any("states/" + key(NOBODYS) == path for path in paths(find_waste(store)))


def test_with_an_age_old_plans_go_with_what_only_they_name(store):
    now = time.time()
    waste = find_waste(store, older_than_days=30, now=now + 31 * DAY)
    assert {"suites/one.json", "suites/two.json"} <= paths(waste)
    assert f"states/{key('shared')}" in paths(waste)
    assert not any(path.startswith(f"states/{key('shared')}/") for path in paths(waste))
    assert "suites/one.json" not in paths(find_waste(store, older_than_days=30, now=now + 29 * DAY))


def test_bundles_that_no_plan_reads_go(store):
    plans = [store.plans.read(name)["rows"] for name in ("one", "two")]
    for rows in [*plans, plans[1][:1] + plans[1][2:]]:
        store.files.write(bundle_of(rows), b"copies")
    assert [one.path for one in find_waste(store, now=LATER) if "bundles" in one.path] == [
        bundle_of(plans[1][:1] + plans[1][2:])
    ]


def test_while_a_plan_is_broken_all_stays_that_it_may_have_named(ksl, store):
    """Found broken now, or set aside before; once its suite ran again and the file is gone, the rest goes."""
    last = store.plans.read("two")
    store.files.write(bundle_of(last["rows"][:1]), b"copies")
    store.files.write("suites/two.json", b'{"rows": [')
    for _ in range(2):
        assert paths(find_waste(store, now=LATER)) == {
            f"evaluations/{key('own')}.corrupt-1",
            f"states/{key('shared')}/checkpoints",
            "ray",
        }
    assert broken_plans(store) == ["suites/two.json.corrupt-1"]
    told = ksl("clean", "--storage", store.root, "--json", "--yes")
    assert told.returncode == 0
    assert f"{store.root}/suites/two.json.corrupt-1: a broken plan" in told.stderr
    assert json.loads(told.stdout)["broken_plans"] == broken_plans(store)
    store.plans.write("two", last)
    store.files.remove("suites/two.json.corrupt-1")
    found = paths(find_waste(store, now=LATER))
    assert f"states/{key(NOBODYS)}" in found
    assert f"states/{key('own')}" not in found


@pytest.mark.parametrize("sign", ["ray/.shared-x", "tune/state", f"leases/{key('under way')}.json"])
def test_of_what_ray_left_nothing_goes_while_a_run_shows_that_it_lives(store, sign):
    store.files.write("tune/old", b"x")
    store.files.write(sign, b"x")
    two_days_ago = time.time() - 2 * DAY
    for old in ("ray/run/state", "tune/old"):
        os.utime(store.files.location(old), (two_days_ago, two_days_ago))
    assert not {"ray", "tune"} & paths(find_waste(store))
    os.utime(store.files.location(sign), (two_days_ago, two_days_ago))
    assert {"ray", "tune"} <= paths(find_waste(store))


def test_what_someone_works_on_stays(store):
    other = Store(store.root)
    other.leases.take(key(NOBODYS))
    try:
        remove_waste(store, find_waste(store, now=LATER))
        assert store.is_finished("state", key(NOBODYS))
    finally:
        other.leases.give_back(key(NOBODYS))


def test_the_command_shows_first_and_deletes_when_told(ksl, store):
    shown = ksl("clean", "--storage", store.root)
    assert shown.returncode == 0
    assert "nothing was deleted" in shown.stdout
    assert "set aside as broken" in shown.stdout
    told = json.loads(ksl("clean", "--storage", store.root, "--json").stdout)
    assert told["deleted_bytes"] == 0
    assert f"states/{key('shared')}/checkpoints" in {one["path"] for one in told["waste"]}
    assert "ray" not in {one["path"] for one in told["waste"]}  # young: perhaps of a run under way
    done = ksl("clean", "--storage", store.root, "--yes")
    assert "are free again" in done.stdout
    assert "nothing may go" in ksl("clean", "--storage", store.root).stdout
