"""What a suite asks of a model that it does not have."""

import pytest

from ksl_bench.errors import KslBenchError
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.preflight import check_model
from ksl_bench.suite import load_suite


def planned(*assignments, suite="quickstart"):
    sizes = ["task.train_size=20", "task.devtest_size=5"]
    loaded = load_suite(suite, [*sizes, *assignments])
    return make_plan(loaded, find_model(loaded.model))


def problems_of(*assignments, suite="quickstart"):
    plan = planned(*assignments, suite=suite)
    with pytest.raises(KslBenchError) as caught:
        check_model(plan)
    return list(caught.value.problems)


def performed_by(model):
    performer = f"{{baseline: null, model: {{name_or_path: {model}}}}}"
    return [
        f"baselines=[base, {{recipe: binoculars, statistic: {{performer: {performer}}}}}]",
        "task.train_size=16",
        "task.devtest_size=8",
        "task.dev_size=60",
    ]


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (
            ["baselines=[published]"],
            "baselines.published.ticket.criterion: 'published' holds ids of LLaMA's tokenizer (32,000 "
            "pieces), this model has another one",
        ),
        (
            ["baselines=[frequency_k18]", "baselines.frequency_k18.ticket.k=99999"],
            "baselines.frequency_k18.ticket.k: must be <= 1500 (the vocabulary), got 99999",
        ),
        (
            ["baselines=[{recipe: embedding, scope: '*.q_project'}]"],
            "baselines.embedding.scope: scope '*.q_project' is neither input_embedding nor output_head",
        ),
        (
            [
                "baselines=[full, {recipe: ks_partial_k18, ticket: {from: full, scope: '*.norm'}}]",
            ],
            "baselines.ks_partial_k18.ticket.scope: scope '*.norm' is neither",
        ),
        (
            ["baselines=[full]", "train.max_seq_length=99999"],
            "baselines.full.train.max_seq_length: must be <= ",
        ),
        (
            ["baselines=[{recipe: full, by_step: [{}, {train: {max_seq_length: 99999}}]}]"],
            "baselines.full.train.max_seq_length: must be <= ",
        ),
    ],
)
def test_one_line_names_field_value_and_what_is_allowed(assignments, said):
    found = problems_of(*assignments)
    assert any(one.startswith(said) for one in found), found


def test_a_performer_with_another_tokenizer_is_refused():
    (found,) = problems_of(*performed_by("tiny-base-five"), suite="detection")
    assert found == (
        "baselines.binoculars.statistic.performer.model: 'tiny-base-five' has another tokenizer than "
        "the base model; the two must share theirs"
    )


def test_a_performer_that_is_not_there_is_named():
    with pytest.raises(KslBenchError, match=r"name_or_path: '\./nowhere' is no model folder"):
        planned(*performed_by("./nowhere"), suite="detection")


def test_a_performer_with_the_same_tokenizer_is_taken():
    check_model(planned(*performed_by("tiny-base"), suite="detection"))
