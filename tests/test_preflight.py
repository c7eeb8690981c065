"""What a suite asks of a model that it does not have."""

import pytest
import yaml

from ksl_bench.errors import KslBenchError
from ksl_bench.models import find_model, skeleton
from ksl_bench.plan import make_plan
from ksl_bench.preflight import adapter_problems, check_model
from ksl_bench.space import load_space
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
        (
            ["baselines=[{recipe: lora, target_modules: [nope]}]"],
            "baselines.lora.target_modules: PEFT refuses LoraConfig: NoMatchingPeftModuleError: Target ",
        ),
        (
            ["baselines=[{recipe: lora, layer_part: [90, 91]}]"],
            "baselines.lora.layer_part: [90, 91] adapts no layer",
        ),
        (
            ["baselines=[{recipe: dora, peft_config: {lora_dropout: 2.0}}]"],
            "baselines.dora.peft_config: PEFT refuses LoraConfig: ValueError: dropout probability",
        ),
        (
            ["baselines=[{recipe: dora, peft_config: {r: 0}}]"],
            "baselines.dora.peft_config: PEFT refuses LoraConfig: ValueError: `r` should be a positive",
        ),
        (
            ["baselines=[{recipe: vera, peft_config: {r: 0}}]"],
            "baselines.vera.peft_config: PEFT refuses VeraConfig: ZeroDivisionError: ",
        ),
        (
            [
                "baselines=[{recipe: ia3, peft_type: C3A, peft_config: "
                "{target_modules: [q_proj], block_size: 7}}]"
            ],
            "baselines.ia3.peft_config: PEFT refuses C3AConfig: ValueError: The block size should be",
        ),
        (
            ["baselines=[{recipe: prompt_tuning, peft_config: {num_virtual_tokens: -1}}]"],
            "baselines.prompt_tuning.peft_config: PEFT refuses PromptTuningConfig: RuntimeError: ",
        ),
        (
            ["baselines=[{recipe: prompt_tuning, peft_config: {num_virtual_tokens: 0}}]"],
            "baselines.prompt_tuning.peft_config: PROMPT_TUNING with {'num_virtual_tokens': 0} trains",
        ),
        (
            [
                "baselines=[{recipe: prompt_tuning, peft_config: {prompt_tuning_init: TEXT, "
                "prompt_tuning_init_text: hi, tokenizer_name_or_path: /nope}}]"
            ],
            "baselines.prompt_tuning.peft_config: PEFT refuses PromptTuningConfig: ",
        ),
    ],
)
def test_one_line_names_field_value_and_what_is_allowed(assignments, said):
    found = problems_of(*assignments)
    assert any(one.startswith(said) for one in found), found
    assert not any("\n" in one for one in found)


def test_a_value_of_a_sweep_that_the_model_has_no_room_for_is_refused(tmp_path):
    content = {
        "name": "sizes",
        "suite": "quickstart",
        "set": ["task.train_size=20", "baselines=[base, frequency_k18]"],
        "baselines": {"frequency_k18": {"ticket.k": {"grid": [4, 99999]}}},
    }
    (tmp_path / "sizes.yaml").write_text(yaml.safe_dump(content))
    space = load_space(str(tmp_path / "sizes.yaml"), [])
    plan = make_plan(space.suite, find_model(space.suite.model))
    check_model(plan)
    with pytest.raises(KslBenchError) as caught:
        check_model(plan, space.tried)
    (found,) = caught.value.problems
    assert found.startswith("baselines.frequency_k18.k-99999.ticket.k: must be <= 1500")


def test_a_performer_with_another_tokenizer_is_refused():
    (found,) = problems_of(*performed_by("tiny-base-five"), suite="detection")
    assert found == (
        "baselines.binoculars.statistic.performer.model: 'tiny-base-five' has another tokenizer than "
        "the base model; the two must share theirs"
    )


def test_a_performer_that_is_not_there_is_named():
    with pytest.raises(KslBenchError) as caught:
        planned(*performed_by("./nowhere"), suite="detection")
    (found,) = caught.value.problems
    where = "baselines.binoculars.statistic.performer.model.name_or_path"
    assert found.startswith(f"{where}: './nowhere' is no model folder")


def test_a_performer_with_the_same_tokenizer_is_taken():
    check_model(planned(*performed_by("tiny-base"), suite="detection"))


def test_a_method_that_starts_from_the_weights_is_left_to_the_worker():
    start = "baselines=[{recipe: dora, peft_config: {init_lora_weights: pissa}}]"
    suite = load_suite("quickstart", ["task.train_size=20", "task.devtest_size=5", start])
    check_model(make_plan(suite, find_model(suite.model)))


def test_an_adapter_larger_than_any_memory_is_left_to_the_worker():
    """Its run ends as out of memory and stays on the board; only its shapes are checked before."""
    suite = load_suite("quickstart", ["baselines=[{recipe: lora, lora_rank: 1000000000}]"])
    assert adapter_problems(suite.baselines, lambda: skeleton(find_model(suite.model))) == []
