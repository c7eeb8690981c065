"""A sequence and merges through a real worker: what each step starts from, and what it may change."""

from itertools import combinations

import numpy as np
import pytest
import torch
from safetensors.torch import load

from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.lottery.mask import read_selection
from ksl_bench.methods.scope import linear_layers
from ksl_bench.models import find_model, load_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.training.loop import Worker
from ksl_bench.worker.merging import merged_model
from ksl_bench.worker.warm import Warm

STEPS = ["eng_cat", "eng_cat+eng_deu", "eng_cat+eng_deu+deu_cat"]
SETTINGS = [
    "seeds=[0]",
    "task.train_size=64",
    "task.devtest_size=4",
    "evaluate.decoding.max_new_tokens=8",
    "evaluate.bootstrap_samples=100",
    "train.steps=3",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("sequence", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, store, retry=False).run(InProcessPool(plan, store))
    assert tally.complete, tally
    store.plans.write(suite.name, plan.record())
    return store, plan, Warm(plan.setting, store, Worker(device=torch.device("cpu")))


def row(made, name, condition, scored_under="eng_cat"):
    (found,) = (
        one
        for one in made[1].rows
        if (one.baseline, one.condition, one.scored_under) == (name, condition, scored_under)
    )
    return found


def work(made, name, condition):
    return made[1].works[row(made, name, condition).state_key]


def weights_after(made, name, step):
    """Return the base's weights with the states of all steps up to this one folded in."""
    last = work(made, name, STEPS[step])
    following = next(
        (one for one in made[1].works.values() if len(one.parents) == step + 1
         and one.parents[-1].state_key == last.key), None
    )  # fmt: skip
    assert following is not None
    return made[2].model("fp32", following.parents).state_dict()


def base(made):
    return load_model(made[1].setting.model, precision="fp32").state_dict()


def test_full_fine_tuning_goes_on_from_what_it_left(made):
    store = made[0]
    first = load(store.read_bytes("state", work(made, "full", STEPS[0]).key, "state.safetensors"))
    after = weights_after(made, "full", 0)
    assert all(torch.equal(after[name], one) for name, one in first.items())
    losses = [store.record("state", work(made, "full", one).key)["losses"] for one in STEPS]
    alone = store.record("state", row(made, "full", "eng_deu", "eng_deu").state_key)["losses"]
    assert losses[1]["first"] != alone["first"]  # the same first batch, another model


def test_lora_of_a_later_layer_changes_that_layer_alone(made):
    before, after = base(made), weights_after(made, "lora_layer_split", 1)
    moved = {name for name, one in before.items() if not torch.equal(one, after[name])}
    assert {name.split(".")[2] for name in moved} == {"0", "1"}


def test_masks_of_lotto_have_nothing_in_common_and_those_of_lota_do(made):
    def kept(name, step):
        mask = read_selection(made[0].read_ticket(row(made, name, STEPS[step]).ticket_key))
        return {(at, int(one)) for at, places in mask.places.items() for one in places}

    lotto = [kept("lotto_s90", step) for step in range(3)]
    for one, other in combinations(lotto, 2):
        assert not one & other
    assert len(lotto[0]) == len(lotto[1]) == len(lotto[2])
    assert kept("lota_s90", 0) & kept("lota_s90", 1)


def test_lottos_second_mask_is_the_top_of_what_the_first_left(made):
    second = made[1].works[row(made, "lotto_s90", STEPS[1]).ticket_key]
    first = read_selection(made[0].read_ticket(row(made, "lotto_s90", STEPS[0]).ticket_key))
    found = read_selection(made[0].read_ticket(second.key))
    tuned = load(made[0].read_bytes("state", second.state_key, "state.safetensors"))
    parent = linear_layers(made[2].model("fp32", second.parents))
    moved = []
    for name, one in parent.items():
        size = (tuned[f"{name}.weight"] - one.weight).detach().abs().flatten().numpy()
        if name in first.places:
            size[first.places[name].numpy()] = -1
        moved.append(size)
    whole = np.concatenate(moved)
    wanted = np.sort(np.argsort(-whole, kind="stable")[: round(0.1 * whole.size)])
    starts = np.cumsum([0, *(one.size for one in moved[:-1])])
    places = [
        found.places[name].numpy() + start
        for name, start in zip(parent, starts, strict=True)
        if name in found.places
    ]
    assert np.array_equal(np.concatenate(places), wanted)


def test_a_later_step_leaves_what_is_not_in_its_mask_bit_identical(made):
    before, after = weights_after(made, "lotto_s90", 0), weights_after(made, "lotto_s90", 1)
    mask = read_selection(made[0].read_ticket(row(made, "lotto_s90", STEPS[1]).ticket_key))
    for name, one in before.items():
        moved = (after[name] != one).flatten().nonzero().flatten()
        kept = mask.places.get(name.removesuffix(".weight"), torch.tensor([], dtype=torch.int64))
        assert torch.isin(moved, kept).all()


def test_shared_and_disjoint_tickets_are_what_they_say(made):
    def ids(name, step):
        return set(
            read_selection(made[0].read_ticket(row(made, name, STEPS[step]).ticket_key)).token_ids
        )

    shared = [ids("ks_shared_k18", step) for step in range(3)]
    disjoint = [ids("ks_disjoint_k18", step) for step in range(3)]
    assert shared[0] == shared[1] == shared[2] == disjoint[0]
    assert len(disjoint[0] | disjoint[1] | disjoint[2]) == 3 * 18
    after = weights_after(made, "ks_disjoint_k18", 1)["model.embed_tokens.weight"]
    moved = (after != base(made)["model.embed_tokens.weight"]).any(dim=1).nonzero().flatten()
    assert set(moved.tolist()) == disjoint[0] | disjoint[1]


@pytest.mark.parametrize("name", ["merge_full_arithmetic", "merge_lora_arithmetic"])
def test_task_arithmetic_adds_weighted_changes_to_the_base(made, name):
    merge = made[1].works[row(made, name, STEPS[2]).evaluation_key]
    found, before = merged_model(made[2], merge).state_dict(), base(made)
    tuned = [
        made[2].with_states(made[2].model("fp32"), [step]).state_dict() for step in merge.merged
    ]
    for at, one in before.items():
        wanted = one + 0.4 * sum(state[at] - one for state in tuned)
        assert torch.allclose(found[at], wanted, atol=1e-6)


def test_ties_keeps_the_largest_elects_a_sign_and_averages_who_agrees(made):
    merge = made[1].works[row(made, "merge_full_ties", STEPS[2]).evaluation_key]
    found, before = merged_model(made[2], merge).state_dict(), base(made)
    states = [
        load(made[0].read_bytes("state", step.state_key, "state.safetensors"))
        for step in merge.merged
    ]
    at = "model.layers.1.mlp.up_proj.weight"
    changes = np.stack([(state[at] - before[at]).numpy().ravel() for state in states])
    # AdamW's first steps are of one size, so many changes are equally large: which of those that stand
    # at the bound are kept is not said.
    bounds = np.quantile(np.abs(changes), 0.8, axis=1, method="higher", keepdims=True)
    clear = (np.abs(changes) != bounds).all(axis=0)
    changes[np.abs(changes) < bounds] = 0
    sign = np.where(changes.sum(axis=0) >= 0, 1, -1)
    agreeing = np.sign(changes) == sign
    wanted = (changes * agreeing).sum(axis=0) / np.maximum(agreeing.sum(axis=0), 1)
    change = (found[at] - before[at]).numpy().ravel()
    assert clear.mean() > 0.5
    assert np.count_nonzero(wanted[clear]) > 1000
    assert np.allclose(change[clear], wanted[clear], atol=1e-6)


def test_disjoint_rows_add_up_without_loss(made):
    merge = made[1].works[row(made, "merge_ks_disjoint", STEPS[2]).evaluation_key]
    at = "model.embed_tokens.weight"
    found, before = merged_model(made[2], merge).state_dict()[at], base(made)[at]
    for step in merge.merged:
        ids = read_selection(made[0].read_ticket(step.ticket.key)).token_ids
        state = load(made[0].read_bytes("state", step.state_key, "state.safetensors"))
        (delta,) = state.values()
        assert torch.allclose(found[ids], before[ids] + delta, atol=1e-6)


def test_earlier_steps_are_on_the_bill_by_name(made):
    store, plan, _ = made
    last = store.record("evaluation", row(made, "lotto_s90", STEPS[2]).evaluation_key)["cost"]
    assert [one["step"] for one in last["earlier"]] == ["eng_cat", "eng_deu"]
    seconds = [
        store.record("state", work(made, "lotto_s90", one).key)["cost"]["train_seconds"]
        for one in STEPS
    ]
    assert [one["train_seconds"] for one in last["earlier"]] == seconds[:2]
    assert last["train_seconds"] == seconds[2]
    assert all(one["selection_seconds"] > 0 for one in last["earlier"])  # two calibrations
    whole = last["earlier_seconds"] + last["selection_seconds"] + last["train_seconds"]
    assert last["device_hours"] * 3600 == pytest.approx(whole + last["evaluate_seconds"])
    shared = store.record("evaluation", row(made, "ks_shared_k18", STEPS[2]).evaluation_key)["cost"]
    assert shared["selection_seconds"] == 0  # found at the first step, and paid there
    assert [one["selection_seconds"] > 0 for one in shared["earlier"]] == [True, False]
    merge = store.record("evaluation", row(made, "merge_full_ties", STEPS[2]).evaluation_key)
    assert merge["cost"]["train_seconds"] == 0
    assert [one["step"] for one in merge["cost"]["earlier"]] == [*plan.suite.sequence]


def test_a_second_run_finds_everything(made):
    store, plan, _ = made
    assert not Execution(plan, store).pending
