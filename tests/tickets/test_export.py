"""A ticket as a PEFT adapter: plain PEFT, in a process of its own, predicts what the applied model does."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from ksl_bench import tiny_base
from ksl_bench.config import ModelSpec
from ksl_bench.errors import TicketError
from ksl_bench.lottery.ticket import matrix_digest
from ksl_bench.models import find_model, load_tokenizer
from ksl_bench.tickets.apply import write_applied
from ksl_bench.tickets.export import write_peft

IDS = [262, 5, 1499]
TEXT = [[1, 262, 300, 5, 17, 1499, 262, 40]]

PLAIN_PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, text, *folders, output = sys.argv[1:]
found = []
for folder in folders:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    with torch.no_grad():
        found.append(model.eval()(torch.tensor(eval(text))).logits)
assert not any(name.split(".")[0] == "ksl_bench" for name in sys.modules)
torch.save(found, output)
"""


def test_plain_peft_predicts_what_the_applied_model_does(tiny_ticket, tmp_path):
    expected, folders = [], []
    for tensor in ("input_embedding", "output_head", "model.layers.1.mlp.up_proj"):
        ticket = tiny_ticket([7, 262, 5], tensor=tensor)
        folders.append(tmp_path / f"{tensor}-peft")
        write_peft(ticket, "tiny-base", folders[-1])
        assert sorted(one.name for one in folders[-1].iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
        ]
        write_applied(ticket, "tiny-base", tmp_path / tensor)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / tensor)
        with torch.no_grad():
            expected.append(model(torch.tensor(TEXT)).logits)
    arguments = [tiny_base.PATH, TEXT, *folders, tmp_path / "logits.pt"]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_PEFT, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # where this package is not
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "missing adapter keys" not in done.stderr
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(tiny_base.PATH)(torch.tensor(TEXT)).logits
    for found, applied in zip(torch.load(tmp_path / "logits.pt"), expected, strict=True):
        assert (found - applied).abs().max() < 1e-5
        assert (found - plain).abs().max() > 1e-2


@pytest.fixture
def saved(tmp_path):
    """Return what saves a model beside the shipped base's tokenizer, and names the folder."""

    def save(model):
        model.save_pretrained(tmp_path / "base")
        load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base"))).save_pretrained(
            tmp_path / "base"
        )
        return str(tmp_path / "base")

    return save


@pytest.mark.parametrize("tensor", ["input_embedding", "output_head"])
def test_one_side_of_tied_embeddings_is_refused_with_the_reason(
    make_llama, make_ticket, saved, tmp_path, tensor
):
    model = make_llama(tied=True)
    digest = matrix_digest(model.get_input_embeddings().weight)
    ticket = make_ticket([3], values=torch.ones(1, 32))
    with pytest.raises(
        TicketError, match=f"changes both sides, the ticket is for the {tensor} alone"
    ):
        write_peft(
            replace(ticket, base_digest=digest, tensor=tensor), saved(model), tmp_path / "new"
        )
    assert not (tmp_path / "new").exists()


def test_a_weight_with_a_bias_is_refused_since_peft_drops_it(make_ticket, saved, tmp_path):
    config = LlamaConfig(
        vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, mlp_bias=True,
    )  # fmt: skip
    model, tensor = LlamaForCausalLM(config), "model.layers.0.mlp.up_proj"
    digest = matrix_digest(model.get_submodule(tensor).weight)
    ticket = make_ticket([3], values=torch.ones(1, 8))
    with pytest.raises(TicketError, match=f"drops the bias that {tensor} has"):
        write_peft(
            replace(ticket, base_digest=digest, tensor=tensor), saved(model), tmp_path / "new"
        )


def test_rows_of_several_weights_are_refused(tiny_ticket, tiny_weights, tmp_path):
    matrix = torch.cat([tiny_weights[f"model.layers.{one}.mlp.up_proj.weight"] for one in range(3)])
    several = replace(
        tiny_ticket([5, 500], tensor="input_embedding"),
        tensor="*.mlp.up_proj",
        base_digest=matrix_digest(matrix),
    )
    with pytest.raises(TicketError, match="its own in each of 2"):
        write_peft(several, "tiny-base", tmp_path / "new")
    in_one = replace(several, k=1, rows=several.rows[1:], row_values=several.row_values[1:])
    write_peft(in_one, "tiny-base", tmp_path / "new")
    config = (tmp_path / "new" / "adapter_config.json").read_text()
    assert '"model.layers.1.mlp.up_proj"' in config
    assert "116" in config  # row 500 of the pattern, after 384 of the first layer


def test_a_ticket_without_values_is_refused(tiny_ticket, tmp_path):
    with pytest.raises(TicketError, match="carries no values"):
        write_peft(tiny_ticket(IDS, carries="none"), "tiny-base", tmp_path / "new")
