"""Keys: what shares them, what changes them."""

import pytest

from ksl_bench.config import ModelSpec
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.suite import load_suite


@pytest.fixture(scope="module")
def tiny():
    return find_model(ModelSpec(name_or_path="tiny-base"))


def plan(tiny, *assignments):
    sizes = ["task.train_size=40", "task.devtest_size=10", "task.dev_size=10"]
    return make_plan(load_suite("quickstart", [*sizes, *assignments]), tiny)


def keys(made, baseline, seed=0):
    (row,) = (one for one in made.rows if (one.baseline, one.seed) == (baseline, seed))
    return row


def test_every_ticket_of_a_seed_is_found_in_one_shared_state(tiny):
    made = plan(tiny)
    shared = {keys(made, f"ks_partial_k{k}").source_state_key for k in (4, 18, 64)}
    shared |= {keys(made, f"ks_transfer_k{k}").source_state_key for k in (18, 64)}
    assert shared == {keys(made, "embedding").state_key}
    # partial tuning and partial transfer of the same rows share the ticket, too
    assert keys(made, "ks_partial_k18").ticket_key == keys(made, "ks_transfer_k18").ticket_key


def test_sources_come_before_what_needs_them(tiny):
    made = plan(tiny, "seeds=[0,1]")
    order = list(made.works)
    for key, work in made.works.items():
        assert all(order.index(need) < order.index(key) for _, need in work.needs)


def test_twelve_rows_need_nine_states_five_tickets_and_twelve_evaluations(tiny):
    kinds = [work.kind for work in plan(tiny).works.values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "state": 9,  # full, embedding, LoRA, prefix, three KS, frequency, random
        "ticket": 5,  # KS 4, 18 and 64, frequency, random
        "evaluation": 12,
    }


def test_the_base_is_evaluated_once_for_all_seeds(tiny):
    made = plan(tiny, "seeds=[0,1,2]")
    assert len({keys(made, "base", seed).evaluation_key for seed in (0, 1, 2)}) == 1
    assert len({keys(made, "lora", seed).evaluation_key for seed in (0, 1, 2)}) == 3
    assert len({keys(made, "random_k18", seed).ticket_key for seed in (0, 1, 2)}) == 3
    assert len({keys(made, "frequency_k18", seed).ticket_key for seed in (0, 1, 2)}) == 1


@pytest.mark.parametrize(
    "assignment",
    [
        "name=other",
        "description=other",
        "resources.max_groups=1",
        "resources.cpus_per_worker=2",
        "train.checkpoint_every_steps=7",
        "tracking.experiment=other",
        "task.dev_size=9",
    ],
)
def test_what_changes_no_number_changes_no_key(tiny, assignment):
    assert plan(tiny, assignment).works.keys() == plan(tiny).works.keys()


@pytest.mark.parametrize(
    ("assignment", "state", "ticket", "evaluation"),
    [
        ("train.learning_rate=0.5", True, True, True),
        ("task.train_size=41", True, True, True),
        ("task.prompt=alpaca", True, True, True),
        ("resources.zero_stage=1", True, True, True),
        ("baselines.ks_partial_k18.ticket.k=17", True, True, True),
        ("baselines.ks_partial_k18.train.steps=3", True, False, True),
        ("task.devtest_size=11", False, False, True),
        ("evaluate.decoding.max_new_tokens=9", False, False, True),
        ("evaluate.metrics=[bleu]", False, False, True),
        ("evaluate.split=dev", False, False, True),
    ],
)
def test_what_changes_a_number_changes_its_key_and_no_other(
    tiny, assignment, state, ticket, evaluation
):
    before, after = (
        keys(plan(tiny), "ks_partial_k18"),
        keys(plan(tiny, assignment), "ks_partial_k18"),
    )
    assert (before.state_key != after.state_key) is state
    assert (before.ticket_key != after.ticket_key) is ticket
    assert (before.evaluation_key != after.evaluation_key) is evaluation


def test_a_plan_survives_json(tiny):
    import json

    record = plan(tiny).record()
    assert json.loads(json.dumps(record)) == json.loads(json.dumps(record, sort_keys=True))
    assert {"evaluation", "state", "ticket", "source_state"} | {
        *("baseline", "seed", "condition", "scored_under")
    } == set(record["rows"][0])


CONDITIONS = "conditions={explicit: {prompt: explicit}, response: {prompt: response}}"


def test_conditions_share_nothing_that_reads_the_prompt(tiny):
    made = plan(tiny, CONDITIONS)
    assert len(made.rows) == 2 * len(plan(tiny).rows)
    assert set(plan(tiny).works) < set(made.works)
    by_name = {(row.baseline, row.condition): row for row in made.rows}
    for name in ("base", "lora"):
        one, other = by_name[name, "explicit"], by_name[name, "response"]
        assert one.evaluation_key != other.evaluation_key


def test_a_transfer_scores_a_state_of_one_condition_under_the_other(tiny):
    made = plan(tiny, CONDITIONS, "transfer=[ks_partial_k18]")
    moved = [row for row in made.rows if row.condition != row.scored_under]
    assert {(one.baseline, one.condition, one.scored_under) for one in moved} == {
        ("ks_partial_k18", "explicit", "response"),
        ("ks_partial_k18", "response", "explicit"),
    }
    for row in moved:
        (home,) = (
            one
            for one in made.rows
            if (one.baseline, one.condition, one.scored_under)
            == (row.baseline, row.condition, row.condition)
        )
        assert (row.state_key, row.ticket_key) == (home.state_key, home.ticket_key)
        assert row.evaluation_key != home.evaluation_key
        assert made.works[row.evaluation_key].task == made.suite.tasks[row.scored_under]
        assert made.works[row.state_key].task == made.suite.tasks[row.condition]


def test_a_probe_scores_the_state_of_what_it_probes_and_trains_nothing(tiny):
    listed = "baselines=[embedding, ks_partial_k18, random_change_k18, ks_k18_only_source]"
    made = plan(tiny, listed)
    probed = keys(made, "ks_partial_k18")
    evaluations = {probed.evaluation_key}
    for name in ("random_change_k18", "ks_k18_only_source"):
        row = keys(made, name)
        assert (row.state_key, row.ticket_key) == (probed.state_key, probed.ticket_key)
        evaluations.add(row.evaluation_key)
    assert len(evaluations) == 3
    assert [work.kind for work in made.works.values()].count("state") == 2
