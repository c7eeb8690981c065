"""Search spaces: typed, judged before anything runs, and what a choice becomes."""

import math

import pytest

from ksl_bench.errors import ConfigError
from ksl_bench.lottery.criteria import CRITERIA
from ksl_bench.space import label, load_space
from ksl_bench.suite import available


def problems_of(content, tmp_path, *assignments):
    import yaml

    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump({"name": "mine", "suite": "quickstart", **content}))
    with pytest.raises(ConfigError) as caught:
        load_space(str(file), assignments)
    return list(caught.value.problems)


LORA = {"lora": {"train.learning_rate": {"grid": [0.1, 0.2]}}}


@pytest.mark.parametrize("name", sorted(available("search space")))
def test_every_shipped_space_is_valid_and_every_choice_becomes_a_suite(name):
    space = load_space(name)
    assert space.spec.name == name
    assert space.spec.description
    for baseline in space.spec.baselines:
        for choice in space.choices(baseline):
            suite = space.trial(baseline, choice)
            assert suite.evaluate.split == "dev"
            assert suite.seeds == space.spec.seeds
            assert suite.baselines[-1].name.startswith(f"{baseline}.")


def test_the_k_sweep_is_twelve_sizes_of_three_criteria_under_two_seeds():
    space = load_space("selection_size")
    assert len(space.grid("ks_partial_k18")) * len(space.spec.seeds) == 72


def test_the_alpha_sweep_takes_every_criterion_that_has_p_values():
    space = load_space("selection_alpha")
    (baseline,) = space.spec.baselines
    chosen = {one["ticket.criterion"] for one in space.choices(baseline)}
    assert chosen == {name for name, one in CRITERIA.items() if one.takes_alpha}


def test_a_choice_changes_its_fields_and_no_other(tmp_path):
    space = load_space("learning_rate")
    chosen = space.trial("lora", {"train.learning_rate": 0.1}).baselines[-1]
    before = space.suite.baseline("lora")
    assert chosen.train.learning_rate == 0.1
    assert chosen.model_copy(update={"name": "lora", "train": before.train}) == before


def test_a_field_of_the_source_makes_a_source_of_its_own():
    space = load_space("embedding_lr_x_k")
    source, chosen = space.trial(
        "ks_partial_k18", {"from.train.learning_rate": 0.001, "ticket.k": 4}
    ).baselines
    assert source.name == "embedding.learning_rate-0.001"
    assert source.train.learning_rate == 0.001
    assert (chosen.ticket.source, chosen.ticket.k) == (source.name, 4)


def test_draws_are_the_seeds_and_lie_within_their_bounds():
    space, again = load_space("lora_rank"), load_space("lora_rank")
    choices = space.choices("lora")
    assert choices == again.choices("lora")
    assert choices != load_space("lora_rank", ["space.search.seed=1"]).choices("lora")
    assert len(choices) == 12
    rates = [one["train.learning_rate"] for one in choices]
    assert all(0.001 <= one <= 0.1 for one in rates)
    # a logarithmic domain: about half of the draws in the lower half of the exponents
    assert 2 <= sum(math.log10(one) < -2 for one in rates) <= 10
    assert {one["lora_rank"] for one in choices} <= {1, 2, 4, 8, 16, 32}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"baselines": {"lorra": LORA["lora"]}}, "baselines.lorra: unknown baseline of the suite 'lorra'"),
        ({"baselines": {"lora": {"lora_rnk": {"grid": [1]}}}}, "lora_rnk: unknown field. Did you mean"),
        ({"baselines": {"lora": {"lora_rank": {"grid": [4, 0]}}}}, "baselines.lora.lora_rank: "),
        ({"baselines": {"lora": {"lora_rank": {"grid": []}}}}, "baselines.lora.lora_rank.grid: must be"),
        ({"baselines": {"lora": {"lora_rank": {}}}}, "give one of grid, uniform and loguniform"),
        ({"baselines": {"lora": {"train.learning_rate": {"uniform": [2, 1]}}}}, "lower bound must be below"),
        ({"baselines": {"lora": {"train.learning_rate": {"loguniform": [0, 1]}}}}, "must be above 0"),
        ({"baselines": {"lora": {"train.learning_rate": {"uniform": [0.1, 0.2]}}}}, "a grid search needs"),
        ({"baselines": {"lora": {"from.train.learning_rate": {"grid": [0.1]}}}}, "needs a ticket that is"),
        ({"baselines": {**LORA, "full": {"train.learning_rate": {"grid": [0.1]}}}},
         "baselines: not the same number of trials for each (full 1, lora 2)"),
        ({"baselines": LORA, "objective": {"metric": "blue"}}, "objective.metric: must be one of bleu, chrf"),
        ({"baselines": LORA, "search": {"algorithm": "random"}}, "'random' with trials=None"),
        ({"baselines": LORA, "search": {"algorithm": "grid", "trials": 3}}, "a grid has its own number"),
        ({"baselines": LORA, "scheduler": {"name": "asha"}}, "first_steps: must be given with asha"),
        ({"baselines": LORA, "suite": "quickstrat"}, "unknown suite 'quickstrat'"),
        ({"baselines": LORA, "sede": 3}, "sede: unknown field. Did you mean 'seeds'"),
        ({}, "baselines: must be given"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_line_with_field_value_and_what_is_allowed(content, said, tmp_path):
    found = problems_of(content, tmp_path)
    assert any(said in problem for problem in found), found


def test_devtest_cannot_be_searched():
    space = load_space("learning_rate", ["evaluate.split=devtest"])
    assert space.suite.evaluate.split == "dev"


def test_names_of_choices_are_names():
    assert label("a", {"train.learning_rate": 0.00012345678, "ticket.k": 4}) == (
        "a.learning_rate-0.000123457.k-4"
    )
    assert label("a", {"scope": "*.up proj"}) == "a.scope-_.up_proj"
    assert label("a", {}) == "a"


def test_a_choice_wins_over_what_is_set_for_all():
    space = load_space("learning_rate", ["train.learning_rate=7.0", "train.steps=9"])
    suite = space.trial("lora", {"train.learning_rate": 0.1}, steps=3)
    assert (suite.baselines[-1].train.learning_rate, suite.baselines[-1].train.steps) == (0.1, 3)
    assert space.suite.baseline("full").train.learning_rate == 7.0
    assert space.full_steps("lora") == 9
