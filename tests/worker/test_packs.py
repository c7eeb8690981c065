"""A pack made by a worker: the same states, on the record as what they are."""

import json
import math

import pytest
import torch
from safetensors.torch import load

from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.models import find_model
from ksl_bench.pack import Pack
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.training.engine import import_deepspeed, join_process_group
from ksl_bench.training.loop import Worker
from ksl_bench.worker import packs
from ksl_bench.worker.builder import Builder
from ksl_bench.worker.steplog import StepLog
from ksl_bench.worker.warm import Warm

CHANGES = [
    "task.train_size=32", "task.devtest_size=2", "train.steps=6", "train.checkpoint_every_steps=2",
    "baselines=[base, frequency_k18, random_k18]", "seeds=[0, 1]", "resources.pack=4",
]  # fmt: skip


@pytest.fixture(scope="module")
def plan():
    suite = load_suite("quickstart", CHANGES)
    return make_plan(suite, find_model(suite.model))


def make(plan, store, *, together):
    import_deepspeed()
    join_process_group()
    builder = Builder(plan.setting, store, Worker())
    for work in plan.works.values():
        if work.kind == "ticket":
            builder.build(work)
    works = tuple(work for work in plan.works.values() if work.kind == "state")
    if together:
        return works, builder.build_pack(Pack(works))
    return works, [builder.build(work) for work in works]


def test_a_pack_makes_the_states_that_are_made_alone(plan, tmp_path):
    packed, alone = Store(str(tmp_path / "packed")), Store(str(tmp_path / "alone"))
    works, outcomes = make(plan, packed, together=True)
    make(plan, alone, together=False)
    assert len(works) == 4
    assert [one.status for one in outcomes] == ["finished"] * 4
    for work in works:
        one, two = (store.record("state", work.key) for store in (packed, alone))
        assert one["pack"]["trials"] == 4
        assert one["pack"]["seconds"] == pytest.approx(4 * one["cost"]["train_seconds"])
        assert two["pack"] is None
        same = ("parameters", "steps", "examples", "inputs", "seed", "baseline")
        assert {name: one[name] for name in same} == {name: two[name] for name in same}
        assert one["losses"] == pytest.approx(two["losses"], abs=1e-5)
        assert one["files"].keys() == two["files"].keys()
        files = [
            store.read_bytes("state", work.key, "state.safetensors") for store in (packed, alone)
        ]
        states = [load(content) for content in files]
        assert states[0].keys() == states[1].keys()
        for name in states[0]:
            torch.testing.assert_close(states[0][name], states[1][name], atol=1e-5, rtol=1e-3)
        lines = [json.loads(one) for one in packed.read_lines("state", work.key, "metrics.jsonl")]
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert packed.checkpoints(work.key).newest() is None


@pytest.fixture
def builder(plan, tmp_path):
    """A worker with all tickets made, and nothing trained."""
    import_deepspeed()
    join_process_group()
    builder = Builder(plan.setting, Store(str(tmp_path / "store")), Worker())
    for work in plan.works.values():
        if work.kind == "ticket":
            builder.build(work)
    return builder


@pytest.fixture
def store(builder, tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def works(plan):
    return tuple(work for work in plan.works.values() if work.kind == "state")


def break_packs(monkeypatch, error, *, after_training=True):
    """Let what is trained together never be written, or never be trained."""
    name = "write_state" if after_training else "PackedRun"

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(packs, name, fail)


def test_states_of_a_pack_that_broke_go_on_alone_from_its_checkpoints(
    plan, builder, store, works, monkeypatch
):
    break_packs(monkeypatch, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        builder.build_pack(Pack(works))
    assert [store.checkpoints(work.key).newest() for work in works] == [4] * 4
    assert [store.record("state", work.key) for work in works] == [None] * 4
    steps = []
    outcomes = [builder.build(work, lambda one: steps.append(one["step"])) for work in works]
    assert [one.status for one in outcomes] == ["finished"] * 4
    assert min(steps) == 5
    fresh = Builder(plan.setting, store, Worker())
    for work in works:
        resumed = store.record("state", work.key)["losses"]["last"]
        fresh.build(work)
        assert resumed == pytest.approx(store.record("state", work.key)["losses"]["last"], abs=1e-5)


def test_states_with_other_checkpoints_are_no_pack(builder, store, works, monkeypatch):
    with monkeypatch.context() as patched:
        break_packs(patched, RuntimeError("broken"))
        with pytest.raises(RuntimeError, match="broken"):
            builder.build_pack(Pack(works[:2]))
    first = {}
    told = []
    outcomes = builder.build_pack(
        Pack(works),
        lambda key: lambda one: first.setdefault(key, one["step"]),
        told.append,
    )
    assert told == outcomes
    assert [first[work.key] for work in works] == [5, 5, 1, 1]
    assert [store.record("state", work.key)["pack"]["trials"] for work in works] == [2] * 4


def lines_of(store, work):
    return [json.loads(one) for one in store.read_lines("state", work.key, "metrics.jsonl")]


@pytest.mark.parametrize("together", [False, True])
def test_a_resumed_run_has_the_lines_of_all_steps_before_its_checkpoint(
    builder, store, works, monkeypatch, together
):
    """Ended in its last step, long before its log would be written again."""
    monkeypatch.setattr(StepLog, "FLUSH_SECONDS", math.inf)
    works = works[:2] if together else works[:1]

    def build(report):
        if together:
            return builder.build_pack(Pack(works), lambda key: report)
        return [builder.build(works[0], report)]

    def killed(progress):
        if progress["step"] == progress["total"]:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        build(killed)
    before = [lines_of(store, work) for work in works]
    assert [[line["step"] for line in lines] for lines in before] == [[1, 2, 3, 4]] * len(works)
    assert {one.status for one in build(lambda progress: None)} == {"finished"}
    for work, lines in zip(works, before, strict=True):
        after, record = lines_of(store, work), store.record("state", work.key)
        assert after[:4] == lines
        assert [line["step"] for line in after] == [1, 2, 3, 4, 5, 6]
        assert record["losses"]["first"] == lines[0]["loss"]
        assert record["cost"]["tokens"] == sum(line["tokens"] for line in after)
        assert record["cost"]["train_seconds"] == sum(line["seconds"] for line in after)


def test_a_model_with_dropout_is_trained_one_by_one(builder, store, works, monkeypatch):
    monkeypatch.setattr(Warm, "has_dropout", lambda *_: True)
    outcomes = builder.build_pack(Pack(works))
    assert [one.status for one in outcomes] == ["finished"] * 4
    assert [store.record("state", work.key)["pack"] for work in works] == [None] * 4


def test_a_pack_in_process_is_made_together(plan, tmp_path):
    import_deepspeed()
    store = Store(str(tmp_path))
    tally = Execution(plan, store).run(InProcessPool(plan, store))
    assert tally.complete
    records = [
        store.record("state", key) for key, work in plan.works.items() if work.kind == "state"
    ]
    assert [one["pack"]["trials"] for one in records] == [4] * 4


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError()])
@pytest.mark.parametrize("after_training", [True, False])
def test_a_pack_that_breaks_in_process_is_replayed_singly(
    plan, tmp_path, monkeypatch, error, after_training
):
    import_deepspeed()
    break_packs(monkeypatch, error, after_training=after_training)
    store = Store(str(tmp_path))
    events = []
    tally = Execution(plan, store).run(InProcessPool(plan, store), events.append)
    assert tally.complete
    for key, work in plan.works.items():
        if work.kind == "state":
            mine = [event.kind for event in events if event.key == key]
            assert mine == ["started", "started", "done"]
            assert store.record("state", key)["pack"] is None
