"""A ticket applied: exactly its rows change, in a folder that loads like any model."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ksl_bench import tiny_base
from ksl_bench.config import ModelSpec
from ksl_bench.errors import KslBenchError, TicketError
from ksl_bench.lottery.ticket import matrix_digest
from ksl_bench.models import find_model, load_tokenizer, tokenizer_digest
from ksl_bench.tickets.apply import load_base, write_applied
from ksl_bench.tickets.folders import new_folder

IDS = [262, 5, 1499]


@pytest.mark.parametrize(
    ("tensor", "name", "carries"),
    [
        ("input_embedding", "model.embed_tokens.weight", "transferred"),
        ("output_head", "lm_head.weight", "trained"),
        ("model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj.weight", "trained"),
    ],
)
def test_the_tickets_rows_change_and_nothing_else(
    tiny_ticket, tiny_weights, tmp_path, tensor, name, carries
):
    ids = [7, 262, 5]
    ticket = tiny_ticket(ids, tensor=tensor, carries=carries)
    write_applied(ticket, "tiny-base", tmp_path / "new")
    expected = {one: weight.clone() for one, weight in tiny_weights.items()}
    expected[name][ids] = ticket.row_values
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[one], expected[one]) for one in expected)


def test_what_says_how_a_model_is_used_stays_as_it_was(tiny_ticket, tmp_path):
    origin = tmp_path / "origin"
    shutil.copytree(tiny_base.PATH, origin)
    # Saving would refuse this; such files are published.
    unusual = {"eos_token_id": 2, "temperature": 0.5, "do_sample": False}
    (origin / "generation_config.json").write_text(json.dumps(unusual))
    write_applied(tiny_ticket(IDS), str(origin), tmp_path / "new")
    assert json.loads((tmp_path / "new" / "generation_config.json").read_text()) == unusual
    assert json.loads((tmp_path / "new" / "config.json").read_text())["use_cache"] is True
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "new")
    assert tokenizer("The dog.") == AutoTokenizer.from_pretrained(tiny_base.PATH)("The dog.")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new", "origin"]


def test_a_base_that_says_nothing_of_generation_goes_on_saying_nothing(tiny_ticket, tmp_path):
    origin = tmp_path / "origin"
    shutil.copytree(tiny_base.PATH, origin)
    (origin / "generation_config.json").unlink()
    write_applied(tiny_ticket(IDS), str(origin), tmp_path / "new")
    assert not (tmp_path / "new" / "generation_config.json").exists()


def test_a_tied_model_is_untied_and_stays_so_in_the_folder(make_llama, make_ticket, tmp_path):
    model = make_llama(tied=True)
    base = tmp_path / "tied"
    model.save_pretrained(base)
    load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base"))).save_pretrained(base)
    before = model.get_input_embeddings().weight.detach()
    ticket = replace(
        make_ticket([3, 150], values=torch.ones(2, 32)), base_digest=matrix_digest(before)
    )
    write_applied(ticket, str(base), tmp_path / "new")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "new")
    assert torch.equal(written.get_output_embeddings().weight, before)
    after = written.get_input_embeddings().weight
    assert torch.equal(after[[3, 150]], torch.ones(2, 32))
    assert int((after != before).any(dim=1).sum()) == 2


def test_a_ticket_without_values_is_refused(tiny_ticket, tmp_path):
    with pytest.raises(TicketError, match="names 3 rows but carries no values"):
        write_applied(tiny_ticket(IDS, carries="none"), "tiny-base", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_digest": "1" * 64}, r"model 'tiny-base': the ticket is for the input_embedding of"),
        ({"tokenizer_digest": "1" * 64}, r"for the tokenizer of 'tiny-base' \(digest 111111111111"),
        ({"tensor": "model.layers.9.up"}, "'model.layers.9.up' is neither input_embedding nor"),
        ({"row_values": torch.zeros(3, 4)}, "the ticket's rows are 4 wide, the model's 128"),
    ],
)
def test_another_model_or_tokenizer_is_refused_by_name(tiny_ticket, tmp_path, change, said):
    with pytest.raises(KslBenchError, match=said):
        write_applied(replace(tiny_ticket(IDS), **change), "tiny-base", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_the_model_does_not_have_is_refused(tiny_ticket):
    ticket = tiny_ticket([5])
    (row,) = ticket.rows
    with pytest.raises(TicketError, match="names row 1500, the model has 1500"):
        load_base("tiny-base", replace(ticket, rows=(replace(row, token_id=1500),)))


def test_a_model_is_loaded_at_the_revision_that_its_ticket_names(tiny_ticket):
    # The shipped base has no revisions: that one was asked for is what it is refused for.
    with pytest.raises(KslBenchError, match="a folder has none, got 'abc'"):
        load_base("tiny-base", replace(tiny_ticket(IDS), revision="abc"))


def test_a_folder_is_whole_or_not_there(tmp_path):
    output = tmp_path / "new"

    def write(name):
        with new_folder(output) as folder:
            (folder / "half").write_text("")
            (folder / name).write_text("")

    with pytest.raises(TicketError, match=r"new cannot be written: No such file"):
        write("no/such/folder")
    assert list(tmp_path.iterdir()) == []
    output.mkdir()
    write("whole")
    assert sorted(one.name for one in output.iterdir()) == ["half", "whole"]
    with pytest.raises(TicketError, match="exists and is not overwritten"):
        write("again")


def test_the_tokenizer_that_is_written_is_the_one_that_was_read(tiny_ticket, tmp_path):
    base = write_applied(tiny_ticket(IDS), "tiny-base", tmp_path / "new")
    written = load_tokenizer(find_model(ModelSpec(name_or_path=str(tmp_path / "new"))))
    assert tokenizer_digest(written) == tokenizer_digest(base.tokenizer)


def test_a_ticket_found_in_bf16_fits_the_base_whose_rounded_rows_it_names(
    tiny_ticket, tiny_weights
):
    from dataclasses import replace

    from ksl_bench.lottery.ticket import matrix_digest
    from ksl_bench.tickets.apply import load_base

    rounded = matrix_digest(tiny_weights["model.embed_tokens.weight"].bfloat16())
    ticket = replace(tiny_ticket([5, 9]), base_digest=rounded)
    assert load_base("tiny-base", ticket).reference.name == "tiny-base"
