"""What a suite asks of a model that it does not have."""

import pytest

from ksl_bench.errors import KslBenchError
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.preflight import check_model
from ksl_bench.suite import load_suite


def problems_of(*assignments):
    sizes = ["task.train_size=20", "task.devtest_size=5"]
    suite = load_suite("quickstart", [*sizes, *assignments])
    with pytest.raises(KslBenchError) as caught:
        check_model(make_plan(suite, find_model(suite.model)))
    return list(caught.value.problems)


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
