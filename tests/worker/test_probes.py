"""Probes, conditions and criteria through a real worker: trained, selected, generated, scored."""

import json

import pytest
import torch
from safetensors.torch import load

from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.leaderboard import read_leaderboard
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.models import find_model, load_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite

SETTINGS = [
    "conditions={explicit: {prompt: explicit}, response: {prompt: response}}",
    "transfer=[ks_partial_k4]",
    "seeds=[0]",
    "task.train_size=64",
    "task.devtest_size=6",
    "evaluate.decoding.max_new_tokens=24",
    "evaluate.bootstrap_samples=100",
]
BASELINES = """baselines=[
    base,
    {recipe: embedding, train: {learning_rate: 0.01, steps: 12}},
    {recipe: ks_partial_k4, train: {learning_rate: 0.3, steps: 12}},
    {recipe: random_change_k18, probe: {of: ks_partial_k4}},
    {recipe: ks_k18_only_instruction, probe: {of: ks_partial_k4}},
    {recipe: ks_k18_only_source, probe: {of: ks_partial_k4}},
    {recipe: ks_k18_only_generated, probe: {of: ks_partial_k4}},
    {recipe: gradient_k18, train: {learning_rate: 0.3, steps: 2}},
    {recipe: template_tokens, train: {learning_rate: 0.3, steps: 2}},
    {recipe: bos_only, train: {learning_rate: 0.3, steps: 2}},
    {recipe: frequency_matched_k18, ticket: {k: 4}, train: {learning_rate: 0.3, steps: 2}},
    {recipe: full, train: {learning_rate: 0.003, steps: 2}},
    {recipe: ks_partial_k18, name: ks_mlp, ticket: {from: full, scope: '*.mlp.up_proj'},
     train: {learning_rate: 0.3, steps: 2}},
]"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("quickstart", [*SETTINGS, BASELINES])
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, store, retry=False).run(InProcessPool(plan, store))
    assert tally.complete, tally
    store.plans.write(suite.name, plan.record())
    return store


@pytest.fixture(scope="module")
def rows(store):
    board = read_leaderboard(store, "quickstart")
    return {(row["baseline"], row["condition"], row["scored_under"]): row for row in board}


def outputs(store, row):
    (key,) = row["evaluations"]
    lines = store.read_bytes("evaluation", key, "outputs.jsonl").decode().split("\n")[:-1]
    return [json.loads(line)["output"] for line in lines]


def test_every_row_of_every_condition_is_scored(rows):
    assert len(rows) == 2 * 13 + 2
    assert {row["status"] for row in rows.values()} == {"finished"}


def test_where_the_change_does_not_act_the_text_is_the_bases(store, rows):
    """The four tickets' tokens stand in the prompt; each probe removes part of what the change does."""
    place = ("explicit", "explicit")
    texts = {
        name: outputs(store, rows[name, *place]) for name, *_ in rows if (name, *place) in rows
    }
    base, ticket = texts["base"], texts["ks_partial_k4"]
    assert ticket != base
    assert texts["ks_k18_only_instruction"] != base
    assert texts["random_change_k18"] != ticket
    state = rows["ks_partial_k4", *place]
    for probe in ("ks_k18_only_source", "ks_k18_only_generated", "random_change_k18"):
        row = rows[probe, *place]
        assert row["trainable_parameters"] == state["trainable_parameters"]
        assert row["cost"]["train_seconds"] == state["cost"]["train_seconds"]


def test_a_transfer_reads_the_other_prompt_with_the_rows_of_this_one(store, rows):
    moved = rows["ks_partial_k4", "explicit", "response"]
    base = rows["base", "response", "response"]
    assert moved["gains"]["raw"]["bleu"]["value"] == pytest.approx(
        moved["scores"]["raw"]["bleu"]["value"] - base["scores"]["raw"]["bleu"]["value"]
    )


def test_tickets_say_how_often_their_tokens_stand_where(store, rows):
    headers = {}
    for name in ("template_tokens", "bos_only", "gradient_k18", "frequency_matched_k18"):
        ticket = ticket_of(store, name)
        headers[name] = ticket
        assert all(row.count > 0 for row in ticket.rows)
    assert all(row.template for row in headers["template_tokens"].rows)
    assert headers["bos_only"].k == 1
    assert headers["bos_only"].rows[0].count == 64  # once an example
    assert [row.template for row in headers["frequency_matched_k18"].rows] != [None] * 4


def ticket_of(store, name):
    plan = store.plans.read("quickstart")
    key = next(
        row["ticket"]
        for row in plan["rows"]
        if (row["baseline"], row["condition"]) == (name, "explicit")
    )
    return Ticket.from_bytes(store.read_ticket(key))


def test_a_ticket_over_linear_weights_names_its_rows_and_keeps_their_trained_values(store):
    plan = store.plans.read("quickstart")
    (row,) = (
        one for one in plan["rows"] if (one["baseline"], one["condition"]) == ("ks_mlp", "explicit")
    )
    trained = Ticket.from_bytes(store.read_bytes("state", row["state"], "ticket.safetensors"))
    assert (trained.tensor, trained.values, trained.k) == ("*.mlp.up_proj", "trained", 18)
    assert all("mlp.up_proj[" in one.token for one in trained.rows)
    base = load_model(find_model(load_suite("quickstart").model), precision="fp32")
    state = load(store.read_bytes("state", row["state"], "state.safetensors"))
    name, place = trained.rows[0].token.removesuffix("]").split("[")
    before = base.get_submodule(name).weight[int(place)]
    change = trained.row_values[0] - before
    candidates = state[f"{name}.delta_KD"]
    assert (candidates - change).norm(dim=1).min() < 1e-5
    assert torch.count_nonzero(change) > 0
