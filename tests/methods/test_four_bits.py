"""QLoRA: refused where it cannot run, and what it is where bitsandbytes is installed."""

import pytest
import torch

from ksl_bench.errors import ConfigError
from ksl_bench.methods import build_method, four_bits
from ksl_bench.methods.base import trainable_parameters
from ksl_bench.plan.artifacts import method_inputs
from ksl_bench.preflight import check_devices
from ksl_bench.suite import load_suite

ON_A_GPU = "resources.gpus_per_worker=1"


def refused(*changes, here=True):
    suite = load_suite("detection", ["baselines=[base, qlora]", *changes])
    with pytest.raises(ConfigError) as caught:
        check_devices(suite, here=here)
    return caught.value.problems


def test_it_is_refused_without_the_extra(monkeypatch):
    monkeypatch.setattr(four_bits, "find_spec", lambda name: None)
    assert refused(ON_A_GPU) == (
        "baselines.qlora.quantize: needs bitsandbytes: pip install 'ksl-bench[qlora]'",
    )


def test_it_is_refused_on_a_machine_without_cuda(monkeypatch):
    monkeypatch.setattr(four_bits, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused(ON_A_GPU) == (
        "baselines.qlora.quantize: needs a CUDA device, and this machine has none",
    )


def test_on_a_cluster_each_worker_needs_a_gpu_and_whole_weights():
    assert refused("resources.zero_stage=3", here=False) == (
        "baselines.qlora.quantize: needs a GPU for each worker, resources.gpus_per_worker must be > 0, got 0",
        "baselines.qlora.quantize: 4-bit weights are not shared out, resources.zero_stage must be <= 2",
    )
    check_devices(load_suite("detection", ["baselines=[qlora]", ON_A_GPU]), here=False)


def test_a_suite_without_it_asks_for_nothing():
    check_devices(load_suite("detection"), here=True)


def test_plain_lora_keeps_the_key_that_it_had():
    plain, small = load_suite("detection", ["baselines=[lora, qlora]"]).baselines
    assert "quantize" not in method_inputs(plain)
    assert method_inputs(small)["quantize"] == "nf4"


def test_the_base_is_in_four_bits_and_the_adapters_train(make_llama):
    bitsandbytes = pytest.importorskip(
        "bitsandbytes",
        reason="bitsandbytes is in the extra qlora only: pip install -e '.[dev,qlora]'",
    )
    model = make_llama()
    plain = build_method("lora", {}).attach(make_llama(), ticket=None, seed=0)
    before = model(input_ids=torch.arange(9)[None]).logits
    method = build_method("lora", {"quantize": "nf4"})
    attached = method.attach(model, ticket=None, seed=0).to("cpu")
    assert trainable_parameters(attached).keys() == trainable_parameters(plain).keys()
    layers = [one for one in attached.modules() if isinstance(one, bitsandbytes.nn.Linear4bit)]
    assert len(layers) >= 2 * 7  # attention and MLP of both layers
    assert {one.weight.dtype for one in layers} == {torch.uint8}
    after = attached(input_ids=torch.arange(9)[None]).logits
    assert 0 < (after - before).abs().max() < 0.5  # nearly the base: adapters start at zero
    after.sum().backward()
    moved = {name for name, one in attached.named_parameters() if one.grad is not None}
    assert moved == set(trainable_parameters(attached))
    assert method.merge(attached) is None
    assert method.no_merge == "its base is kept in 4 bits"
