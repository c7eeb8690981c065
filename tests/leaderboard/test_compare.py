import json

import pytest

from ksl_bench.leaderboard.compare import Side, compare
from ksl_bench.leaderboard.gains import told_difference
from ksl_bench.significance.intervals import differences
from tests.boards import Written


def written(folder, **qualities):
    made = Written(folder)
    for name, quality in qualities.items():
        made.scored(name, quality if isinstance(quality, list) else [quality] * 3)
    return made


def kinds(found):
    return {one.baseline: one.kind for one in found.changes}


def test_a_result_against_itself_is_the_same_with_p_1(tmp_path):
    store = written(tmp_path, one=0.9, two=0.5).done()
    found = compare(Side(store, "mine"), Side(store, "mine"))
    assert kinds(found) == {"one": "same", "two": "same"}
    for one in found.changes:
        assert (one.difference["value"], one.difference["p_value"]) == (0, 1)
        assert one.difference["adjusted_p_value"] == 1
        assert one.cost == {"device_hours": 1, "peak_memory": 1}
        assert not one.loses(0)
    assert found.settings == []


def test_what_changed_is_told_with_significance(tmp_path):
    before = written(tmp_path / "a", up=0.5, down=0.95, near=0.9, gone=0.9).done()
    after = written(tmp_path / "b", up=0.95, down=0.5, near=0.901, new=0.9).done()
    found = compare(Side(before, "mine"), Side(after, "mine"))
    assert kinds(found) == {
        "up": "better",
        "down": "worse",
        "near": "not_shown",
        "gone": "gone",
        "new": "appeared",
    }
    lost = {one.baseline for one in found.changes if one.loses(1.0)}
    assert lost == {"down", "gone"}
    down = next(one for one in found.changes if one.baseline == "down")
    assert not down.loses(-down.difference["high"] + 1)
    assert down.difference["paired_seeds"] == [0, 1, 2]


def test_a_run_that_broke_is_a_regression_and_one_that_was_mended_is_none(tmp_path):
    before = written(tmp_path / "a", one=0.9)
    before.recipe("two", "full")
    before.row("two", 0, "0" * 20)
    after = written(tmp_path / "b", two=0.9)
    after.recipe("one", "full")
    after.row("one", 0, "1" * 20)
    found = compare(Side(before.done(), "mine"), Side(after.done(), "mine"))
    assert kinds(found) == {"one": "broke", "two": "mended"}
    assert [one.loses(5) for one in found.changes] == [True, False]


def with_lost(folder, quality, finished):
    """Write a row of five seeds of which some finished and the others diverged."""
    lost = [seed for seed in range(5) if seed not in finished]
    made = Written(folder, seeds=list(range(5)))
    return made.scored("one", [quality] * len(finished), seeds=finished).lost("one", lost).done()


@pytest.mark.parametrize("qualities", [(0.5, 0.95), (0.95, 0.5)])
def test_seeds_that_are_left_on_both_sides_show_no_change_and_no_regression(tmp_path, qualities):
    sides = [
        Side(with_lost(tmp_path / str(quality), quality, [0, 1, 2]), "mine")
        for quality in qualities
    ]
    (found,) = compare(*sides).changes
    assert found.kind == "not_shown"
    assert "3 of 5 seeds of one finished, the others diverged" in found.note
    assert found.difference["p_value"] < 0.05  # the number is told all the same
    assert not found.loses(0)
    (same,) = compare(sides[0], sides[0]).changes
    assert (same.kind, same.loses(0)) == ("same", False)


def test_a_row_that_mended_is_not_held_against_the_seeds_that_were_left(tmp_path):
    before = with_lost(tmp_path / "a", 0.95, [0, 1, 2])
    after = written(tmp_path / "b", one=[0.5] * 5).done()
    (found,) = compare(Side(before, "mine"), Side(after, "mine")).changes
    assert (found.kind, found.loses(0)) == ("mended", False)


@pytest.mark.parametrize("left", [[0, 1], [2, 3, 4], []])
def test_a_seed_that_came_to_nothing_is_a_regression_where_others_already_had(tmp_path, left):
    before = with_lost(tmp_path / "a", 0.9, [0, 1, 2])
    after = with_lost(tmp_path / "b", 0.95, left)
    (found,) = compare(Side(before, "mine"), Side(after, "mine")).changes
    assert (found.kind, found.loses(99)) == ("broke", True)
    assert "diverged" in found.note


def test_other_text_is_not_compared(tmp_path):
    before = written(tmp_path / "a", one=0.9).done()
    after = Written(tmp_path / "b").scored("one", [0.9] * 3, data={"digest": "other"}).done()
    found = compare(Side(before, "mine"), Side(after, "mine"))
    assert kinds(found) == {"one": "not_comparable"}
    assert found.changes[0].difference is None


def test_settings_that_differ_are_named(tmp_path):
    before = written(tmp_path / "a", one=0.9).done()
    after = Written(tmp_path / "b").scored("one", [0.9] * 3, train={"steps": 500}).done()
    found = compare(Side(before, "mine"), Side(after, "mine"))
    assert found.settings == ["baselines.one.train.steps: 120 -> 500"]


def test_the_command_exits_1_on_a_regression_beyond_the_bound_only(ksl, tmp_path):
    written(tmp_path / "a", one=0.95).done()
    written(tmp_path / "b", one=0.5).done()
    sides = [str(tmp_path / "a"), str(tmp_path / "b")]
    shown = ksl("compare", *sides)
    assert shown.returncode == 0
    assert "worse" in shown.stdout
    lost = ksl("compare", *sides, "--bound", "1", "--json")
    assert lost.returncode == 1
    told = json.loads(lost.stdout)
    assert told["regressions"] == ["one"]
    assert told["changes"][0]["difference"]["high"] < -1
    assert ksl("compare", *sides, "--bound", "99").returncode == 0
    assert ksl("compare", *reversed(sides), "--bound", "1").returncode == 0


def test_two_dates_of_one_storage(ksl, tmp_path):
    store = written(tmp_path / "a", one=0.95).done()
    plan = store.plans.read("mine")
    path = tmp_path / "a/suites/mine.json"
    path.write_text(json.dumps({**plan, "written_at": "20261120T100000Z"}))
    written(tmp_path / "a", one=0.95, two=0.9).done()
    told = ksl("compare", "2026-11-20", "2099-01-01", "--storage", str(tmp_path / "a"), "--json")
    assert {one["baseline"]: one["kind"] for one in json.loads(told.stdout)["changes"]} == {
        "one": "same",
        "two": "appeared",
    }
    old = ksl("compare", "2026-11-19", "2026-11-21", "--storage", str(tmp_path / "a"))
    assert old.returncode == 2
    assert "2026-11-19: nothing of suite mine is that old" in old.stderr


@pytest.mark.parametrize("names", [[], ["one", "two"]])
def test_without_one_suite_in_common_the_suite_must_be_named(ksl, tmp_path, names):
    for name in names:
        Written(tmp_path, name=name).scored("x", [0.9]).done()
    found = ksl("compare", str(tmp_path), str(tmp_path))
    assert found.returncode == 2
    assert f"--suite: name one that both have: {', '.join(names) or 'none'}" in found.stderr


def test_the_difference_is_that_of_the_two_systems(tmp_path):
    from ksl_bench.leaderboard.board import read_conditions

    stores = [
        written(tmp_path / name, one=quality).done() for name, quality in (("a", 0.8), ("b", 0.9))
    ]
    found = compare(*(Side(store, "mine") for store in stores)).changes[0]
    systems = [
        next(read_conditions(store, store.plans.read("mine"))).systems[0]["first_line", "bleu"]
        for store in stores
    ]
    (expected,) = differences([(systems[1], systems[0])])
    told = {key: value for key, value in found.difference.items() if key != "adjusted_p_value"}
    assert told == told_difference(expected)
