"""Stability over a store that real embedding tunings filled."""

import pytest
from safetensors.torch import load

from ksl_bench.benchmark import Execution
from ksl_bench.errors import KslBenchError
from ksl_bench.in_process import InProcessPool
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.lottery.evidence import Evidence
from ksl_bench.models import find_model, load_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.tickets.stability import measure_stability

SETTINGS = [
    "conditions={one: {}, other: {prompt: response}, german: {target_language: deu}}",
    "seeds=[0,1]",
    "task.train_size=48",
    "task.devtest_size=2",
    "evaluate.decoding.max_new_tokens=2",
    "evaluate.bootstrap_samples=100",
    "baselines=[{recipe: embedding, train: {learning_rate: 0.01, steps: 3}}]",
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("stability", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    assert Execution(plan, store).run(InProcessPool(plan, store)).complete
    store.plans.write(suite.name, plan.record())
    return store, plan


def order(store, plan, condition, seed):
    (row,) = (one for one in plan.rows if (one.condition, one.seed) == (condition, seed))
    state = load(store.read_bytes("state", row.state_key, "state.safetensors"))
    base = load_model(plan.setting.model, precision="fp32").get_input_embeddings().weight.detach()
    evidence = Evidence(before_VD=base, after_VD=state["model.embed_tokens.weight"])
    return CRITERIA["ks"].rank(evidence).tolist()


def test_what_differs_is_told_by_the_fields_and_seeds_come_first(filled):
    store, _ = filled
    found = measure_stability(store, "stability", (4, 18, 100_000))
    assert found["sizes"] == [4, 18]
    assert {one["differs"]: one["pairs"] for one in found["comparisons"]} == {
        "seed": 3,
        "prompt": 2,  # pairs of different seeds only
        "target_language": 2,
        "prompt and target_language": 2,
    }
    assert found["comparisons"][0]["differs"] == "seed"
    assert found["missing"] == []


def test_overlaps_are_those_of_the_orders(filled):
    store, plan = filled
    found = {
        one["differs"]: one for one in measure_stability(store, "stability", (18,))["comparisons"]
    }
    first = order(store, plan, "one", 0), order(store, plan, "other", 1)
    second = order(store, plan, "one", 1), order(store, plan, "other", 0)
    shared = [len(set(one[:18]) & set(other[:18])) for one, other in (first, second)]
    overlap = found["prompt"]["overlap"]["18"]
    assert (overlap["lowest"], overlap["highest"]) == (min(shared), max(shared))
    assert overlap["mean"] == sum(shared) / 2
    assert -1 <= found["prompt"]["rank_correlation"] <= 1


def test_every_run_has_its_regression(filled):
    store, _ = filled
    regressions = measure_stability(store, "stability", (4,))["regressions"]
    assert {(one["condition"], one["seed"]) for one in regressions} == {
        (condition, seed) for condition in ("one", "other", "german") for seed in (0, 1)
    }
    assert all(one["rows"] > 20 for one in regressions)
    assert all(one["log_count"]["low"] <= one["log_count"]["high"] for one in regressions)


def test_a_suite_that_was_not_run_or_tunes_no_embedding_is_refused(filled):
    store, plan = filled
    with pytest.raises(KslBenchError, match="nothing is stored of unknown suite 'stabilty'"):
        measure_stability(store, "stabilty", (4,))
    suite = load_suite("quickstart", ["name=other", "baselines=[base]", "task.devtest_size=2"])
    store.plans.write("other", make_plan(suite, plan.setting.model).record())
    with pytest.raises(KslBenchError, match="has no baseline of method 'embedding'"):
        measure_stability(store, "other", (4,))
