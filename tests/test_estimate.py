"""Estimates against published counts and closed forms, at the shapes of LLaMA-7B."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ksl_bench.config import ResourcesSpec
from ksl_bench.estimate import estimate
from ksl_bench.suite import build_suite, find_file, parse_set, read_yaml

TOTAL = 6_738_415_616


def llama_7b():
    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig())  # transformers' defaults are LLaMA-7B's shapes


def of(name, *assignments, **resources):
    content = read_yaml(find_file("suite", "quickstart"))
    suite = build_suite(content, parse_set(assignments))
    return estimate(
        suite.baseline(name),
        make_skeleton=llama_7b,
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
