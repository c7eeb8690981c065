"""Estimates against published counts and closed forms, at the shapes of LLaMA-7B."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from ksl_bench.config import ResourcesSpec, TrainSpec
from ksl_bench.estimate import activation_bytes, estimate
from ksl_bench.suite import build_suite, find_file, parse_set, read_yaml

TOTAL = 6_738_415_616


def llama_7b():
    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig())  # transformers' defaults are LLaMA-7B's shapes


def text_and_images():
    text = Gemma3TextConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(Gemma3Config(text_config=text))


def of(name, *assignments, make_skeleton=llama_7b, **resources):
    content = read_yaml(find_file("suite", "quickstart"))
    suite = build_suite(content, parse_set(assignments))
    return estimate(
        suite.baseline(name),
        make_skeleton=make_skeleton,
        resources=ResourcesSpec(**resources),
        training_examples=2000,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base", 0),
        ("full", TOTAL),
        ("embedding", 32000 * 4096),
        ("ks_partial_k18", 18 * 4096),
        ("ks_transfer_k18", 0),
        ("lora", 4_194_304),  # r = 8 on W_q and W_v of 32 layers: Hu et al. 2021, table 2's formula
        ("prefix", 2 * 32 * 10 * 4096),
    ],
)
def test_trainable_parameters(name, expected):
    found = of(name)
    assert found.trainable_parameters == expected
    assert found.total_parameters == TOTAL


def test_a_ticket_by_alpha_has_no_known_size():
    found = of(
        "ks_partial_k18",
        "baselines.ks_partial_k18.ticket.k=null",
        "baselines.ks_partial_k18.ticket.alpha=0.05",
    )
    assert found.trainable_parameters is None
    assert found.memory_bytes is None


def test_full_fine_tuning_in_bf16_takes_sixteen_bytes_a_parameter():
    # Rajbhandari et al. 2020, section 3.1: 2 + 2 + 12 bytes
    memory = of("full", "train.precision=bf16", "resources.zero_stage=1", zero_stage=1).memory_bytes
    states = memory["weights"] + memory["gradients"] + memory["optimizer"]
    assert states == 16 * TOTAL
    assert memory["total"] == states + memory["activations"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [(1, 2 + 2 + 12 / 8), (2, 2 + (2 + 12) / 8), (3, 16 / 8)],
)
def test_zero_stages_share_out_what_the_paper_says(stage, expected):
    memory = of(
        "full",
        "train.precision=bf16",
        "resources.zero_stage=1",
        zero_stage=stage,
        workers_per_run=8,
    ).memory_bytes
    states = memory["weights"] + memory["gradients"] + memory["optimizer"]
    assert states == pytest.approx(expected * TOTAL)


def test_hours_and_money_follow_from_speed_and_price():
    assert of("full").device_hours is None
    found = of("full", tflops_per_device=100, price_per_device_hour=2.0)
    tokens = 120 * 16 * 128
    assert found.flops == pytest.approx(6 * TOTAL * tokens)
    assert found.device_hours == pytest.approx(6 * TOTAL * tokens / 1e14 / 3600)
    assert found.money == pytest.approx(2 * found.device_hours)


@pytest.mark.parametrize("name", ["embedding", "ks_partial_k18", "lora"])
def test_what_is_frozen_costs_no_operations_on_its_weights(name):
    found = of(name)
    tokens = 120 * 16 * 128
    assert found.flops == pytest.approx(tokens * (4 * TOTAL + 2 * found.trainable_parameters))


@pytest.mark.parametrize(
    ("precision", "checkpointing", "expected"),
    [
        ("bf16", False, 34 * 32),  # Korthikanti et al. 2022, equation 1, without the scores
        ("bf16", True, 2 * 32 + 34),  # section 5: the input of every layer, and one layer whole
        ("fp32", False, 68 * 32),
    ],
)
def test_activations_a_token_and_unit_of_width(precision, checkpointing, expected):
    train = TrainSpec(
        learning_rate=1.0,
        steps=1,
        micro_batch_size=4,
        max_seq_length=512,
        precision=precision,
        gradient_checkpointing=checkpointing,
    )
    assert activation_bytes(LlamaConfig(), train) == expected * 512 * 4 * 4096


@pytest.mark.parametrize(
    ("name", "expected"), [("embedding", 96 * 32), ("ks_partial_k18", 18 * 32)]
)
def test_a_model_for_text_and_images_keeps_its_sizes_apart(name, expected):
    found = of(name, make_skeleton=text_and_images)
    assert found.trainable_parameters == expected
    assert found.memory_bytes["activations"] > 0


def test_rows_of_another_weight_are_as_wide_as_its_input():
    listed = (
        "baselines=[full, {recipe: ks_partial_k18, ticket: {from: full, scope: '*.down_proj'}}]"
    )
    assert of("ks_partial_k18", listed).trainable_parameters == 18 * 11008


def test_a_ticket_whose_size_is_found_has_no_count_yet():
    assert of("template_tokens", "baselines=[template_tokens]").trainable_parameters is None
