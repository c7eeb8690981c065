"""Tasks in sequence and merges: what is planned, under which keys, and what is refused."""

import json
from itertools import pairwise

import pytest

from ksl_bench.config import ModelSpec, step_names
from ksl_bench.errors import ConfigError
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.suite import build_suite, load_suite, parse_set, read_yaml
from ksl_bench.suite.files import find_file

TASKS = ["eng_cat", "eng_deu", "deu_cat"]
STEPS = ["eng_cat", "eng_cat+eng_deu", "eng_cat+eng_deu+deu_cat"]
SMALL = ["task.train_size=40", "task.devtest_size=10", "task.dev_size=10", "seeds=[0]"]


@pytest.fixture(scope="module")
def tiny():
    return find_model(ModelSpec(name_or_path="tiny-base"))


def plan(tiny, *assignments):
    return make_plan(load_suite("sequence", [*SMALL, *assignments]), tiny)


def row(made, baseline, condition, scored_under=None, seed=0):
    wanted = (baseline, condition, scored_under or condition.split("+")[-1], seed)
    (found,) = (
        one
        for one in made.rows
        if (one.baseline, one.condition, one.scored_under, one.seed) == wanted
    )
    return found


def state(made, baseline, condition):
    return made.works[row(made, baseline, condition).state_key]


def ticket(made, baseline, condition):
    return made.works[row(made, baseline, condition).ticket_key]


def problems_of(*assignments):
    with pytest.raises(ConfigError) as caught:
        load_suite("sequence", [*SMALL, *assignments])
    return list(caught.value.problems)


def test_the_steps_are_named_after_what_was_tuned_on():
    assert step_names(TASKS) == tuple(STEPS)


def test_every_trained_baseline_is_scored_on_every_task_after_each_step(tiny):
    made = plan(tiny)
    trained = [one.name for one in made.suite.baselines if one.merge is None and one.name != "base"]
    for name in trained:
        for step in STEPS:
            scored = [
                one.scored_under
                for one in made.rows
                if (one.baseline, one.condition) == (name, step)
            ]
            assert scored == TASKS
    assert {one.condition for one in made.rows if one.baseline == "base"} == set(TASKS)
    assert len({(r.baseline, r.condition, r.scored_under) for r in made.rows}) == len(made.rows)


def test_a_step_starts_from_the_state_of_the_step_before(tiny):
    made = plan(tiny)
    for name in ("full", "lora", "lota_s90", "ks_disjoint_k18"):
        works = [state(made, name, step) for step in STEPS]
        assert [len(one.parents) for one in works] == [0, 1, 2]
        assert "parent" not in works[0].inputs
        for before, after in pairwise(works):
            assert after.inputs["parent"] == before.key == after.parents[-1].state_key
            assert ("state", before.key) in after.needs
        assert [one.task.target_language for one in works] == ["cat", "deu", "cat"]


def test_the_first_step_is_tuning_on_that_task_alone(tiny):
    made = plan(tiny)
    alone = make_plan(load_suite("sequence", [*SMALL, "sequence=[]"]), tiny)
    for name in ("full", "lora", "lota_s90", "ks_shared_k18"):
        assert row(made, name, "eng_cat") == row(alone, name, "eng_cat")
        assert row(made, name, "eng_deu") == row(alone, name, "eng_deu")
    assert set(alone.works) < set(made.works)


def test_another_order_is_another_sequence(tiny):
    other = plan(tiny, "sequence=[eng_deu, eng_cat]", "baselines=[full]")
    assert state(other, "full", "eng_deu+eng_cat").key not in plan(tiny).works


def test_tickets_and_masks_are_found_in_the_model_of_the_step(tiny):
    made = plan(tiny)
    for name, source in (("lota_s90", "full"), ("ks_disjoint_k18", "embedding")):
        found = ticket(made, name, STEPS[1])
        parent = row(made, name, STEPS[0]).state_key
        assert found.parents[-1].state_key == parent
        tuned = made.works[found.state_key]
        assert tuned.baseline.name == source
        assert tuned.inputs["parent"] == parent


def test_a_shared_ticket_is_that_of_the_first_task(tiny):
    made = plan(tiny)
    keys = {row(made, "ks_shared_k18", step).ticket_key for step in STEPS}
    assert keys == {row(made, "ks_shared_k18", "eng_cat").ticket_key}
    work = state(made, "ks_shared_k18", STEPS[2])
    assert work.ticket_after == 0
    # alone, a task has a ticket of its own
    assert row(made, "ks_shared_k18", "eng_deu").ticket_key not in keys


@pytest.mark.parametrize("name", ["ks_disjoint_k18", "lotto_s90"])
def test_a_disjoint_ticket_excludes_those_of_all_earlier_steps(tiny, name):
    made = plan(tiny)
    keys = [row(made, name, step).ticket_key for step in STEPS]
    assert made.works[keys[0]].excluded == ()
    assert made.works[keys[1]].excluded == (keys[0],)
    assert made.works[keys[2]].excluded == (keys[0], keys[1])
    assert ("ticket", keys[0]) in made.works[keys[2]].needs


def test_lota_and_lotto_are_one_until_something_is_to_be_excluded(tiny):
    made = plan(tiny)
    lota, lotto = (
        [row(made, name, step).state_key for step in STEPS] for name in ("lota_s90", "lotto_s90")
    )
    assert lota[0] == lotto[0]
    assert lota[1] != lotto[1]
    # the mask of the second step is looked for in the same calibration
    one, other = (ticket(made, name, STEPS[1]) for name in ("lota_s90", "lotto_s90"))
    assert one.state_key == other.state_key


def test_layer_split_lora_adapts_another_layer_at_each_step(tiny):
    made = plan(tiny)
    parts = [state(made, "lora_layer_split", step).inputs["method"]["layer_part"] for step in STEPS]
    assert parts == [[0, 3], [1, 3], [2, 3]]
    assert "layer_part" not in state(made, "lora", "eng_cat").inputs["method"]


def test_a_merge_takes_the_states_that_were_tuned_on_each_task_alone(tiny):
    made = plan(tiny)
    for scored in TASKS:
        found = row(made, "merge_full_ties", STEPS[2], scored)
        work = made.works[found.evaluation_key]
        assert [one.state_key for one in work.merged] == [
            row(made, "full", task).state_key for task in TASKS
        ]
        assert work.inputs["merge"] == {"rule": "ties", "weight": 1.0, "density": 0.2}
        assert work.task == made.suite.tasks[scored]
        assert {key for _, key in work.needs} == {one.state_key for one in work.merged}


def test_disjoint_rows_are_merged_from_tickets_without_a_row_in_common(tiny):
    made = plan(tiny)
    work = made.works[row(made, "merge_ks_disjoint", STEPS[2], "eng_cat").evaluation_key]
    keys = [one.ticket.key for one in work.merged]
    assert [made.works[key].excluded for key in keys] == [(), tuple(keys[:1]), tuple(keys[:2])]
    assert all(made.works[one.state_key].parents == () for one in work.merged)


def test_sources_come_first_and_rows_name_all_they_rest_on(tiny):
    made = plan(tiny)
    order = list(made.works)
    for key, work in made.works.items():
        assert all(order.index(need) < order.index(key) for _, need in work.needs)
    needed = {key for work in made.works.values() for _, key in work.needs}
    assert {key for one in made.rows for _, key in one.chain()} == set(made.works)
    assert needed <= set(made.works)
    record = made.record()
    assert json.loads(json.dumps(record))["rows"][-1]["earlier"]


def test_the_complement_of_a_mask_excludes_that_mask(tiny):
    listed = ["full", "{recipe: lota_s90, ticket: {from: full}}", "lota_rest_s90"]
    made = plan(tiny, f"baselines=[{', '.join(listed)}]", "sequence=[eng_cat, eng_deu]")
    for step in STEPS[:1]:
        mask = row(made, "lota_s90", step).ticket_key
        assert ticket(made, "lota_rest_s90", step).excluded == (mask,)
        assert ticket(made, "lota_rest_s90", step).state_key is None


def test_then_the_rest_trains_what_the_first_mask_left(tiny):
    listed = ["lota_calibration", "lota_then_rest"]
    made = plan(tiny, f"baselines=[{', '.join(listed)}]", "sequence=[eng_cat, eng_deu]")
    first, second = (ticket(made, "lota_then_rest", step) for step in STEPS[:2])
    assert first.baseline.ticket.criterion == "magnitude"
    assert second.baseline.ticket.criterion == "rest"
    assert second.excluded == (first.key,)


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        (
            "sequence=[eng_cat, eng_dev, deu_cat]",
            "sequence.1: unknown condition of this suite 'eng_dev'. Did you mean 'eng_deu'?",
        ),
        ("sequence=[eng_cat]", "sequence: needs two conditions or more, got ['eng_cat']"),
        ("sequence=[eng_cat, eng_cat]", "condition of the sequence given more than once: eng_cat"),
        (
            "baselines=[base, prefix]",
            "baselines.prefix.method: 'prefix' cannot stand in a sequence: keys and values of virtual "
            "tokens are no part of any weight",
        ),
        (
            "baselines=[prompt_tuning]",
            "baselines.prompt_tuning.method: 'peft' cannot stand in a sequence: what PROMPT_TUNING trains "
            "is no part of any weight",
        ),
        (
            "baselines=[{recipe: ia3, peft_type: LILY}]",
            "baselines.ia3.method: 'peft' cannot stand in a sequence: LILY is not tested with a merge; "
            "allowed: IA3, LN_TUNING, LORA, OFT, VERA",
        ),
        (
            "baselines=[{recipe: ia3, peft_type: LORA, peft_config: {lora_bias: true}}]",
            "baselines.ia3.method: 'peft' cannot stand in a sequence: LORA with lora_bias is not tested",
        ),
        (
            "baselines=[lora_layer_split]",
            "baselines.lora_layer_split.by_step: must have as many steps as the sequence, 3, got 2",
        ),
        (
            "baselines=[{recipe: lora_layer_split, by_step: [{}, {layer_part: [3, 3]}, {}]}]",
            "baselines.lora_layer_split.by_step.1: layer_part must be [i, n] with i < n, got [3, 3]",
        ),
        (
            "baselines=[{recipe: lora_layer_split, by_step: [{}, {lora_rank: 0}, {}]}]",
            "baselines.lora_layer_split.by_step.1.lora_rank: must be >= 1, got 0",
        ),
        (
            "baselines=[{recipe: lora_layer_split, by_step: [{}, {method: full}, {}]}]",
            "baselines.lora_layer_split.by_step.1: must map the method's fields, ticket or train, got "
            "{'method': 'full'}",
        ),
        (
            "baselines=[full, {recipe: merge_full_ties, merge: {density: null}}]",
            "baselines.merge_full_ties.merge: density belongs to rule ties, got None with 'ties'",
        ),
        (
            "baselines=[lora, merge_full_ties]",
            "baselines.merge_full_ties.merge.of: unknown baseline of this suite 'full'. Known: lora",
        ),
        (
            "baselines=[full, {recipe: merge_full_ties, train: {steps: 3}}]",
            "baselines.merge_full_ties.train: a merge has that of the baseline it merges; leave it out",
        ),
        (
            "baselines=[embedding, ks_shared_k18, {recipe: merge_ks_disjoint, merge: {of: ks_shared_k18}}]",
            "baselines.merge_ks_disjoint.merge.rule: disjoint_sum needs a baseline with "
            "ticket.in_sequence disjoint, got 'ks_shared_k18'",
        ),
        (
            "baselines=[full, {recipe: lota_rest_s90, ticket: {from: full}}]",
            "baselines.lota_rest_s90.ticket.from: 'full' must be of method 'lota', and no rest",
        ),
        (
            "baselines=[full, {recipe: lotto_s90, ticket: {from: full, in_sequence: never}}]",
            "baselines.lotto_s90.ticket.in_sequence: must be 'anew', 'shared' or 'disjoint', got 'never'",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_what_is_allowed(assignment, problem):
    found = problems_of(assignment)
    assert any(problem in one for one in found), found


def test_set_train_holds_at_every_step():
    content = read_yaml(find_file("suite", "sequence"))
    content["baselines"] = [
        {"recipe": "lora_layer_split", "by_step": [{}, {"train": {"steps": 7}}, {}]}
    ]
    (one,) = build_suite(content, []).baselines
    assert [one.at_step(step).train.steps for step in range(3)] == [None, 7, None]
    (one,) = build_suite(content, parse_set(["train.steps=5"])).baselines
    assert [one.at_step(step).train.steps for step in range(3)] == [5, 5, 5]
