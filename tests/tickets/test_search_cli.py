"""`ticket find` and `ticket stability` as a user meets them."""

import json

import pytest
import torch

from ksl_bench.config import ModelSpec
from ksl_bench.lottery.ticket import Ticket
from ksl_bench.models import find_model, load_model, load_tokenizer


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    reference = find_model(ModelSpec(name_or_path="tiny-base"))
    model = load_model(reference, precision="fp32")
    with torch.no_grad():
        model.get_input_embeddings().weight[[7, 300, 900]] += 0.25
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder)
    load_tokenizer(reference).save_pretrained(folder)
    return folder


def test_what_find_writes_is_what_it_prints_and_what_show_shows(ksl, tuned, tmp_path):
    file = tmp_path / "found.safetensors"
    pair = ["--before", "tiny-base", "--after", str(tuned)]
    done = ksl("ticket", "find", *pair, "--k", "3", "--output", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == Ticket.load(file).header()
    assert sorted(row["token_id"] for row in json.loads(done.stdout)["rows"]) == [7, 300, 900]
    shown = ksl("ticket", "show", str(file), "--json")
    assert json.loads(shown.stdout) == json.loads(done.stdout)
    assert file.stat().st_size < 8 * 1024  # a ticket of three rows of 128 values
    table = ksl("ticket", "find", *pair, "--k", "3").stdout
    assert "Benjamini-Hochberg" in table
    assert "tests nothing" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["find", "--before", "tiny-base"], "k: criterion 'ks' needs k or alpha"),
        (["find", "--before", "tiny-base", "--k", "2", "--after", "./none"], "after: './none' is no"),
        (["find", "--before", "tiny-base", "--criterion", "frequency", "--k", "2", "--text", "no.tsv"],
         "no.tsv"),
        (["find"], "Missing option '--before'"),
        (["stability", "nothing", "--storage", "empty"], "nothing is stored of unknown suite 'nothing'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_2(ksl, tmp_path, arguments, said):
    done = ksl("ticket", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert any(line.startswith("error: ") and said in line for line in done.stderr.splitlines()), (
        done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_a_text_with_an_empty_line_is_refused_by_its_line(ksl, tmp_path):
    text = tmp_path / "text.tsv"
    text.write_text("a\tb\n\nc\td\n", encoding="utf-8")
    done = ksl("ticket", "find", "--before", "tiny-base", "--criterion", "frequency", "--k", "2",
               "--text", str(text))  # fmt: skip
    assert done.returncode == 2
    assert "text.tsv" in done.stderr
    assert "2" in done.stderr.split("text.tsv")[1]
