"""The leaderboard over stores written by hand: joins, intervals, blame."""

import gc
import io
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from ksl_bench.errors import StorageError
from ksl_bench.evaluation.scoring import RESAMPLES_FILE, read_arrays
from ksl_bench.leaderboard import read_board, read_leaderboard, reasons
from ksl_bench.significance.intervals import difference, mean_interval
from ksl_bench.significance.resampling import Draw, System
from ksl_bench.store import Store, key_of
from ksl_bench.store.files import Files
from tests.boards import Written, references, result


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A base, a LoRA of three seeds, a ticket of two, and rows that failed each in its way."""
    made = Written(tmp_path_factory.mktemp("store"), seeds=[0, 1, 2])
    made.scored("base", [0.9, 0.9, 0.9], method="none", stops=False)
    made.scored("lora", [0.97, 0.98, 0.99], method="lora")
    made.scored("good", [0.95, 0.96], method="partial_tuning", ticket={"criterion": "ks", "k": 18})
    for name in ("diverged", "open"):
        made.recipe(name, "full")
    made.recipe("late", "partial_tuning", ticket={"criterion": "ks", "k": 4})
    state, source = key_of({"state": 1}), key_of({"state": 2})
    made.store.fail("state", state, "diverged", "the loss is nan")
    made.store.fail("state", source, "out_of_memory", "too big")
    made.row("diverged", 0, key_of({"evaluation": 1}), state=state)
    made.row("late", 0, key_of({"evaluation": 2}), source_state=source)
    made.row("open", 0, key_of({"evaluation": 3}), state=key_of({"state": 3}))
    return made.done()


@pytest.fixture(scope="module")
def rows(store):
    return {row["baseline"]: row for row in read_leaderboard(store, "mine")}


def system(store, row, rule="first_line", metric="bleu", *, fixed=False):
    """A row's system, put together from the files by hand."""
    records = [store.record("evaluation", key) for key in row["evaluations"]]
    arrays = [
        read_arrays(store.read_bytes("evaluation", one["key"], RESAMPLES_FILE)) for one in records
    ]
    if fixed:
        records, arrays = records[:1], arrays[:1]
    return System(
        () if fixed else tuple(row["seeds"]),
        np.array([one["scores"][rule][metric]["value"] for one in records]),
        np.stack([one[f"{rule}/{metric}"] for one in arrays], axis=1),
        Draw(**records[0]["draw"]),
    )


def test_scores_are_means_over_seeds_and_each_seed_is_kept(rows):
    score = rows["lora"]["scores"]["raw"]["bleu"]
    assert list(score["by_seed"]) == ["0", "1", "2"]
    assert score["value"] == pytest.approx(np.mean(list(score["by_seed"].values())))
    assert rows["good"]["finished_seeds"] == [0, 1]
    assert rows["good"]["ticket_sizes"] == [18, 18]


def test_the_interval_is_that_of_seeds_and_sentences_together(store, rows):
    score, found = (
        rows["lora"]["scores"]["first_line"]["bleu"],
        mean_interval(system(store, rows["lora"])),
    )
    assert (score["low"], score["high"]) == pytest.approx((found.low, found.high), rel=1e-9)
    assert score["speaks_of"] == "seeds and sentences"


def test_the_base_depends_on_no_seed(store, rows):
    assert rows["base"]["scores"]["raw"]["bleu"]["speaks_of"] == "sentences"
    gain = rows["lora"]["gains"]["first_line"]["bleu"]
    found = difference(system(store, rows["lora"]), system(store, rows["base"], fixed=True))
    # Side by side with other rows they are summed in another order.
    ends = found.interval.low, found.interval.high
    assert (gain["low"], gain["high"]) == pytest.approx(ends, rel=1e-9)
    assert gain["p_value"] == pytest.approx(found.p_value, rel=1e-9)
    assert gain["paired_seeds"] == [0, 1, 2]


def test_rows_that_failed_stay_with_their_reason(store, rows):
    found = {name: (row["status"], row["reason"]) for name, row in rows.items()}
    assert found["diverged"] == ("diverged", "the loss is nan")
    assert found["late"] == ("skipped", "the source of its ticket is out_of_memory: too big")
    assert found["open"] == ("pending", None)
    assert reasons(list(rows.values()))[0] == "diverged: diverged: the loss is nan"
    assert rows["diverged"]["scores"] is None
    assert rows["diverged"]["ranking"]["not_ranked"] == "0 of 1 seeds finished"


def test_a_suite_that_was_never_run_names_the_closest(store):
    with pytest.raises(StorageError, match="Did you mean 'mine'"):
        read_leaderboard(store, "mime")


def test_resamples_that_are_broken_make_a_run_pending_and_say_so(tmp_path):
    store = Written(tmp_path).scored("lora", [0.9, 0.8]).done()
    (row,) = read_leaderboard(store, "mine")
    path = tmp_path / "evaluations" / row["evaluations"][0] / RESAMPLES_FILE
    path.write_bytes(path.read_bytes()[:-1])
    (row,) = read_leaderboard(store, "mine")
    assert (row["status"], row["finished_seeds"]) == ("pending", [1])
    assert "was set aside" in row["reason"]


def copied(store, root):
    """The same results and plan, in an object store."""
    other = Store(f"memory://{root}")
    for path in store.files.names("evaluations"):
        record = store.record("evaluation", path)
        files = {name: store.read_bytes("evaluation", path, name) for name in record["files"]}
        other.finish("evaluation", path, record, files)
    other.plans.write("mine", store.plans.read("mine"))
    return other


def test_an_object_store_gives_the_same_board(store, rows):
    other = copied(store, "board-test")
    there = {row["baseline"]: row for row in read_board(other, "mine").rows}
    assert there["lora"] == rows["lora"]
    assert other.files.names("bundles") == []  # some rows are still to be made


@pytest.fixture
def finished(tmp_path):
    """An object store in which nothing is missing, tickets among it."""
    made = Written(tmp_path)
    made.scored("base", [0.9], method="none")
    made.scored("lora", [0.97, 0.98, 0.99], method="lora")
    ticket = {"criterion": "ks", "k": 4}
    made.scored("moved", [0.9], method="partial_transfer", ticket=ticket)
    made.rows[-1]["ticket"] = key_of({"ticket": 1})
    return copied(made.done(), tmp_path.name)


def test_of_finished_rows_an_object_store_is_asked_for_one_file(finished, monkeypatch):
    first = read_board(finished, "mine")
    (name,) = finished.files.names("bundles")
    asked, before = [], Files.read
    monkeypatch.setattr(
        Files, "read", lambda files, path: asked.append(path) or before(files, path)
    )
    assert read_board(finished, "mine") == first
    assert asked == ["suites/mine.json", f"bundles/{name}"]


def test_copies_that_are_not_what_they_were_are_read_again_where_they_are_from(finished):
    first = read_board(finished, "mine")
    (name,) = finished.files.names("bundles")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"evaluations/{first.rows[1]['evaluations'][0]}/{RESAMPLES_FILE}", b"7")
    finished.files.write(f"bundles/{name}", buffer.getvalue())
    assert read_board(finished, "mine") == first
    assert finished.files.names("bundles") == [f"{name}.corrupt-1"]


def test_the_rows_of_a_sweep_that_goes_on_are_not_kept_together(finished):
    plan = finished.plans.read("mine")
    for ended in (False, True):
        finished.plans.write("mine", {**plan, "sweep": {"ended": ended}})
        read_board(finished, "mine")
        assert len(finished.files.names("bundles")) == ended


def test_a_board_leaves_the_collector_as_it_was(store):
    before = gc.get_threshold()
    read_board(store, "mine")
    with pytest.raises(StorageError):
        read_board(store, "mime")
    assert gc.get_threshold() == before


@pytest.mark.parametrize("told", [{"units": 10}, {}])
def test_a_group_has_the_degrees_of_freedom_of_its_own_examples(tmp_path, told):
    """As results tell them, and as those of earlier versions do, by the examples alone."""
    made = Written(tmp_path)
    made.recipe("one", "full")
    record, files = result(references())
    of_all = read_arrays(files[RESAMPLES_FILE])["raw/bleu"]
    entry = {"value": 50.0, "low": 0.0, "high": 0.0, "examples": 10, **told}
    record["by_group"] = {"language": {"cat": {"raw": {"bleu": entry}}}}
    files["groups.safetensors"] = save({"language/cat/raw/bleu": of_all})
    made.store.finish("evaluation", key_of({"name": "one"}), record, files)
    made.row("one", 0, key_of({"name": "one"}))
    (row,) = read_leaderboard(made.done(), "mine")
    found = row["by_group"]["language"]["cat"]["raw"]["bleu"]
    assert found["degrees_of_freedom"] == 9
    assert found["standard_error"] == pytest.approx(np.sqrt(10 / 9 * of_all.var(ddof=1)))
