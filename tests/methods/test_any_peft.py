"""Any method of PEFT by its own names: those that ship as baselines, and what is refused."""

import inspect

import pytest
import torch
import yaml
from pydantic import ValidationError
from transformers import LlamaForCausalLM

from ksl_bench.errors import MethodError
from ksl_bench.methods import build_method
from ksl_bench.methods.any_peft import (
    CHECKPOINTED,
    FROM_WEIGHTS,
    MERGED,
    REFUSED,
    UNTESTED_FIELDS,
    _kinds,
)
from ksl_bench.methods.base import WeightsNeededError, load_state, trainable_parameters
from tests.conftest import REPOSITORY

V, D, INNER, LAYERS = 200, 32, 64, 2
IDS = torch.tensor([[1, 7, 3, 50, 199, 2]])

SHIPPED = {
    "ia3": LAYERS * (2 * D + INNER),  # keys, values, inner layer
    "prompt_tuning": 20 * D,
    "dora": LAYERS * 2 * (8 * (D + D) + D),  # LoRA and a length for each row of q and v
    "vera": LAYERS * 2 * (256 + D),  # two vectors of scales, for q and v
    "layer_norm": (2 * LAYERS + 1) * D,
    "oft": LAYERS * 2 * (32 * 31 // 2),  # a skew-symmetric block of 32 for q and v
}


def recipe(name):
    return yaml.safe_load((REPOSITORY / f"baselines/{name}.yaml").read_text())


def attached(name, model):
    given = recipe(name)
    method = build_method("peft", {key: given[key] for key in ("peft_type", "peft_config")})
    return method, method.attach(model, ticket=None, seed=0)


def changed(model):
    with torch.no_grad():
        for one in trainable_parameters(model).values():
            one.add_(torch.randn(one.shape, generator=torch.manual_seed(2)) * 0.05)
    return model


@pytest.mark.parametrize("name", SHIPPED)
def test_the_parameters_that_train_are_as_many_as_the_closed_form(make_llama, name):
    _, model = attached(name, make_llama())
    assert sum(one.numel() for one in trainable_parameters(model).values()) == SHIPPED[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_parameter_gets_a_gradient(make_llama, name):
    _, model = attached(name, make_llama())
    changed(model)(input_ids=IDS, use_cache=False).logits[:, -1].square().sum().backward()
    assert all(one.grad is not None for one in trainable_parameters(model).values())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_state_put_into_a_fresh_attachment_gives_the_same_logits(make_llama, name):
    trained = changed(attached(name, make_llama())[1])
    state = {key: one.detach().clone() for key, one in trainable_parameters(trained).items()}
    _, fresh = attached(name, make_llama())
    load_state(fresh, state)
    assert torch.equal(fresh.eval()(input_ids=IDS).logits, trained.eval()(input_ids=IDS).logits)


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"prompt_tuning"}))
def test_a_merged_model_gives_the_logits_of_the_attached_one(make_llama, name):
    method, model = attached(name, make_llama())
    expected = changed(model).eval()(input_ids=IDS).logits
    merged = method.merge(model)
    assert torch.allclose(merged.eval()(input_ids=IDS).logits, expected, atol=1e-4)


def test_virtual_tokens_cannot_be_merged(make_llama):
    method, model = attached("prompt_tuning", make_llama())
    assert method.merge(model) is None


def test_lora_by_its_configuration_is_the_method_lora(make_llama):
    fields = {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
    ours = build_method("lora", {"lora_rank": 4, "target_modules": ("q_proj", "v_proj")})
    theirs = build_method("peft", {"peft_type": "lora", "peft_config": fields})
    one = changed(ours.attach(make_llama(), ticket=None, seed=3))
    two = changed(theirs.attach(make_llama(), ticket=None, seed=3))
    assert torch.equal(one(input_ids=IDS).logits, two(input_ids=IDS).logits)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"peft_type": "IA33"}, "Did you mean 'IA3'"),
        ({"peft_type": "XLORA"}, "XLORA does not run here: it needs adapters"),
        ({"peft_type": "LORA", "peft_config": {"rank": 8}}, "unknown field of LoraConfig 'rank'"),
        (
            {
                "peft_type": "LORA",
                "peft_config": {"r": 8, "layers_to_transform": [0], "target_modules": ".*q"},
            },
            "LoraConfig: `layers_to_transform` cannot be used",
        ),
    ],
)
def test_what_peft_refuses_is_refused_in_its_words(fields, said):
    with pytest.raises(ValidationError, match=said.replace("(", r"\\(")):
        build_method("peft", fields)


def test_modules_that_are_not_there_are_refused(make_llama):
    method = build_method(
        "peft",
        {
            "peft_type": "IA3",
            "peft_config": {"target_modules": ["nope"], "feedforward_modules": []},
        },
    )
    with pytest.raises(MethodError, match="PEFT refuses IA3Config"):
        method.attach(make_llama(), ticket=None, seed=0)


def test_every_refusal_names_a_type_that_peft_has():
    from peft import PeftType

    assert REFUSED.keys() <= {str(one.value) for one in PeftType}


@pytest.mark.parametrize("name", SHIPPED)
def test_training_leaves_every_weight_of_the_base_as_it_was(make_llama, name):
    """What trains is none of the base's own tensors: an optimizer over it cannot move them."""
    model = make_llama()
    held = dict(model.named_parameters())  # as they are before PEFT renames and wraps them
    before = {at: one.detach().clone() for at, one in held.items()}
    _, whole = attached(name, model)
    trained = trainable_parameters(whole).values()
    optimizer = torch.optim.SGD(trained, lr=0.1)
    changed(whole)(input_ids=IDS, use_cache=False).logits.square().mean().backward()
    optimizer.step()
    assert [at for at, one in held.items() if not torch.equal(one, before[at])] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_gradient_checkpointing_gives_the_same_gradients(make_llama, name):
    found = []
    for checkpointing in (False, True):
        _, model = attached(name, make_llama())
        changed(model).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        model(input_ids=IDS, use_cache=False).logits.square().mean().backward()
        found.append({name: one.grad for name, one in trainable_parameters(model).items()})
    plain, checkpointed = found
    for key, gradient in plain.items():
        assert torch.allclose(gradient, checkpointed[key], atol=1e-6)


QV = {"target_modules": ["q_proj", "v_proj"]}
NEEDED = {
    "IA3": {},
    "LN_TUNING": {},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "P_TUNING": {"num_virtual_tokens": 4},
}
"""Fields that a type needs; targets for the others."""
EVERY_TYPE = [(kind, NEEDED.get(kind, QV)) for kind in sorted(_kinds())]
VARIANTS = [
    ("LORA", {**QV, "use_dora": True}),
    ("LORA", {**QV, "use_rslora": True}),
    ("LORA", {**QV, "bias": "all"}),
    ("LORA", {**QV, "init_lora_weights": "pissa"}),
    ("LORA", {**QV, "modules_to_save": ["lm_head"]}),
    ("LORA", {**QV, "layer_replication": [[0, 2], [1, 2]]}),
    ("LORA", {**QV, "alora_invocation_tokens": [7]}),
    ("LORA", {**QV, "lora_bias": True}),
    ("LORA", {"target_modules": ["lm_head"], "trainable_token_indices": [1, 3]}),
]


def gradients(method, model, *, checkpointing):
    attached = changed(method.attach(model, ticket=None, seed=0)).train()
    if checkpointing:
        attached.gradient_checkpointing_enable({"use_reentrant": False})
        attached.enable_input_require_grads()
    attached(input_ids=IDS, use_cache=False).logits.square().mean().backward()
    return {name: one.grad for name, one in trainable_parameters(attached).items()}


@pytest.mark.parametrize(("kind", "fields"), EVERY_TYPE + VARIANTS)
@pytest.mark.parametrize("tied", [False, True])
def test_every_type_of_peft_keeps_its_logits_in_a_merge_or_is_refused(
    make_llama, kind, fields, tied
):
    if kind in REFUSED:
        with pytest.raises(ValidationError, match=f"{kind} does not run here"):
            build_method("peft", {"peft_type": kind, "peft_config": fields})
        return
    method = build_method("peft", {"peft_type": kind, "peft_config": fields})
    if method.no_merge is not None:
        assert kind in method.no_merge
        return
    model = changed(method.attach(make_llama(tied=tied), ticket=None, seed=0)).eval()
    expected = model(input_ids=IDS, use_cache=False).logits
    merged = method.merge(model).eval()
    assert torch.allclose(merged(input_ids=IDS, use_cache=False).logits, expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "fields"), EVERY_TYPE + VARIANTS)
def test_every_type_of_peft_has_the_same_gradients_with_checkpointing_or_is_refused(
    make_llama, kind, fields
):
    if kind in REFUSED:
        return  # see the test before
    method = build_method("peft", {"peft_type": kind, "peft_config": fields})
    if method.no_gradient_checkpointing is not None:
        assert kind in method.no_gradient_checkpointing or kind == "PREFIX_TUNING"
        return
    plain, checkpointed = (
        gradients(method, make_llama(), checkpointing=one) for one in (False, True)
    )
    for name, gradient in plain.items():
        assert gradient is not None, name
        assert torch.allclose(gradient, checkpointed[name], atol=1e-6), name


SMALL = {
    "C3A": {"block_size": 16},
    "MISS": {"r": 8},
    "ROAD": {"group_size": 8},
    "SHADOW": {"target_modules": None},
    "VBLORA": {"vector_length": 16},
    "WAVEFT": {"n_frequency": 32},
}
"""Sizes for types whose own are for larger models."""


@pytest.mark.filterwarnings("ignore")  # an extension that is not built, and the like
@pytest.mark.parametrize(("kind", "fields"), EVERY_TYPE + VARIANTS)
def test_every_type_attaches_to_shapes_alone_or_says_that_it_starts_from_weights(
    make_llama, kind, fields
):
    if kind in REFUSED:
        return  # refused by its name
    method = build_method(
        "peft", {"peft_type": kind, "peft_config": {**fields, **SMALL.get(kind, {})}}
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(make_llama().config)
    if kind in FROM_WEIGHTS or fields.get("init_lora_weights") == "pissa":
        with pytest.raises(WeightsNeededError):
            method.attach(model, ticket=None, seed=0)
    else:
        assert trainable_parameters(method.attach(model, ticket=None, seed=0))


def test_every_untested_field_is_one_that_peft_has():
    fields = {name for kind in _kinds().values() for name in inspect.signature(kind).parameters}
    assert set(UNTESTED_FIELDS) <= fields


def test_what_ships_can_be_merged_and_checkpointed():
    """The lists are those of the recipes: what they train is tuned in a sequence, or it is said why not."""
    kinds = {recipe(name)["peft_type"] for name in SHIPPED}
    assert set(CHECKPOINTED) == kinds
    assert set(MERGED) == kinds - {"PROMPT_TUNING"}
