"""A pack made by a worker: the same states, on the record as what they are."""

import json

import pytest
import torch
from safetensors.torch import load

from ksl_bench.models import find_model
from ksl_bench.pack import Pack
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.training.engine import import_deepspeed, join_process_group
from ksl_bench.training.loop import Worker
from ksl_bench.worker import Builder
from ksl_bench.worker.packs import has_dropout

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
        return works, builder.build_pack(Pack(works), lambda key: lambda progress: None)
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
        assert packed.newest_checkpoint(work.key) is None


def test_a_model_that_draws_masks_is_noticed(make_llama):
    assert not has_dropout(make_llama())
    model = make_llama()
    model.config.attention_dropout = 0.1
    assert has_dropout(model)
