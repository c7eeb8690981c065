"""Tickets from two checkpoints: the same rows as a loop over scipy finds, from folders and bare files."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats

from ksl_bench import tiny_base
from ksl_bench.config import ModelSpec, TranslationSpec
from ksl_bench.errors import KslBenchError
from ksl_bench.lottery.ticket import matrix_digest
from ksl_bench.models import find_model, load_model, load_tokenizer
from ksl_bench.tickets.find import Search, find_ticket

MOVED = [5, 80, 200, 201, 400, 777, 1000, 1499]


@pytest.fixture(scope="module")
def base():
    return load_model(find_model(ModelSpec(name_or_path="tiny-base")), precision="fp32")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The shipped base with eight rows moved, each farther than the one before, and two of a weight."""
    reference = find_model(ModelSpec(name_or_path="tiny-base"))
    model = load_model(reference, precision="fp32")
    noise = torch.randn(len(MOVED), 128, generator=torch.manual_seed(0))
    with torch.no_grad():
        scale = torch.linspace(0.1, 2.0, len(MOVED))[:, None]
        model.get_input_embeddings().weight[MOVED] += noise * scale
        model.model.layers[1].mlp.up_proj.weight[[3, 9]] += 0.5
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder)
    load_tokenizer(reference).save_pretrained(folder)
    return folder


def task(tmp_path):
    text = tmp_path / "text.tsv"
    text.write_text("The dog sees.\tEl gos veu.\nThe cat sees.\tEl gat veu.\n")
    files = {f"{split}_files": str(text) for split in ("train", "dev", "devtest")}
    return TranslationSpec(source_language="eng", target_language="cat", **files)


def test_rows_and_p_values_are_those_of_a_loop_over_scipy(base, tuned):
    ticket = find_ticket(Search(before="tiny-base", after=str(tuned), k=6))
    before = base.get_input_embeddings().weight.detach()
    after = load_file(tuned / "model.safetensors")["model.embed_tokens.weight"]
    p = {
        row: stats.ks_2samp(before[row].numpy(), after[row].numpy(), method="exact").pvalue
        for row in MOVED
    }
    length = {row: float((after[row] - before[row]).norm()) for row in MOVED}
    expected = sorted(MOVED, key=lambda row: (round(p[row], 12), -length[row]))[:6]
    assert ticket.token_ids == expected
    assert [row.p for row in ticket.rows] == pytest.approx([p[row] for row in expected], rel=1e-8)
    assert torch.equal(ticket.row_values, after[expected])
    assert ticket.base_digest == matrix_digest(before)
    assert (ticket.tests.moved, ticket.tests.rows) == (len(MOVED), 1500)
    assert ticket.rows[0].token


def test_bare_files_give_the_same_rows_without_tokens(tuned, tmp_path):
    whole = find_ticket(Search(before="tiny-base", after=str(tuned), k=4, criterion="l2"))
    files = str(tiny_base.PATH / "model.safetensors"), str(tuned / "model.safetensors")
    bare = find_ticket(Search(before=files[0], after=files[1], k=4, criterion="l2"))
    assert bare.token_ids == whole.token_ids
    assert (bare.tokenizer_digest, bare.tensor) == (None, "input_embedding")
    assert {row.token for row in bare.rows} == {""}
    named = find_ticket(
        Search(before=files[0], after=files[1], k=2, tensor="model.layers.1.mlp.up_proj.weight")
    )
    assert (sorted(named.token_ids), named.tensor) == ([3, 9], "model.layers.1.mlp.up_proj")


def test_a_pattern_of_weights_names_the_rows_by_weight(tuned):
    search = Search(before="tiny-base", after=str(tuned), k=2, scope="model.layers.1.mlp.*_proj")
    with pytest.raises(KslBenchError, match="weights of different width"):
        find_ticket(search)
    ticket = find_ticket(Search(before="tiny-base", after=str(tuned), k=2, scope="*.mlp.up_proj"))
    assert sorted(row.token for row in ticket.rows) == [
        "model.layers.1.mlp.up_proj[3]",
        "model.layers.1.mlp.up_proj[9]",
    ]


def test_text_gives_counts_the_prompts_tokens_and_gradients(tmp_path):
    by_count = find_ticket(
        Search(before="tiny-base", criterion="frequency", k=3, task=task(tmp_path))
    )
    assert (by_count.values, by_count.row_values) == ("none", None)
    assert [row.count for row in by_count.rows] == sorted(
        (row.count for row in by_count.rows), reverse=True
    )
    template = find_ticket(Search(before="tiny-base", criterion="template", task=task(tmp_path)))
    assert all(row.template for row in template.rows)
    tokenizer = load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base")))
    bare = "Translate the following text from English to Catalan.\n\nEnglish:"
    assert set(tokenizer(bare)["input_ids"]) <= set(template.token_ids)
    gradient = find_ticket(
        Search(before="tiny-base", criterion="gradient", k=5, task=task(tmp_path))
    )
    assert len(gradient.token_ids) == 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"k": None}, "k: criterion 'ks' needs k or alpha"),
        ({"k": 3, "alpha": 0.5}, "k and alpha: give one, got k=3, alpha=0.5"),
        ({"k": 9}, "k=9, but only 8 rows moved"),
        ({"k": None, "alpha": 1.5}, "alpha: must be between 0 and 1, got 1.5"),
        ({"after": None}, "after: criterion 'ks' needs the checkpoint after tuning"),
        ({"criterion": "frequency"}, "text: criterion 'frequency' needs the tuning text"),
        ({"criterion": "kss"}, "unknown criterion 'kss'"),
        ({"before": "/nowhere/at/all"}, "before: '/nowhere/at/all' is no model folder"),
        ({"after": "/nowhere.safetensors"}, "after '/nowhere.safetensors': not a safetensors file"),
        ({"scope": "model.layers.7.mlp.up_proj"}, "before 'tiny-base': scope 'model.layers.7"),
        ({"tensor": "x"}, "tensor: only for a safetensors file; before 'tiny-base' is a model"),
        ({"criterion": "published", "k": None}, "the paper published no ticket"),
    ],
)
def test_what_cannot_be_found_is_one_clear_line(tuned, fields, said):
    search = {"before": "tiny-base", "after": str(tuned), "k": 3, **fields}
    with pytest.raises(KslBenchError) as caught:
        find_ticket(Search(**search))
    assert any(problem.startswith(said) for problem in caught.value.problems), caught.value.problems


def test_rounding_is_not_taken_for_tuning(tuned, tmp_path):
    half = {name: one.bfloat16() for name, one in load_file(tuned / "model.safetensors").items()}
    save_file(half, tmp_path / "half.safetensors")
    search = Search(
        before=str(tiny_base.PATH / "model.safetensors"),
        after=str(tmp_path / "half.safetensors"),
        k=3,
    )
    with pytest.raises(KslBenchError, match="stored in float32, after in bfloat16: rounding alone"):
        find_ticket(search)


def test_of_several_embeddings_in_a_file_one_must_be_named(tmp_path):
    save_file(
        {"a.embed_tokens.weight": torch.zeros(3, 2), "b.wte.weight": torch.zeros(3, 2)},
        tmp_path / "two.safetensors",
    )
    search = Search(before=str(tmp_path / "two.safetensors"), after="x.safetensors", k=1)
    with pytest.raises(KslBenchError, match=r"holds 2 input embeddings; name the tensor: a\.embed"):
        find_ticket(search)


def test_nan_in_a_checkpoint_names_the_row(tuned, tmp_path):
    broken = load_file(tuned / "model.safetensors")
    broken["model.embed_tokens.weight"][7, 3] = np.nan
    save_file(broken, tmp_path / "nan.safetensors")
    search = Search(
        before=str(tiny_base.PATH / "model.safetensors"),
        after=str(tmp_path / "nan.safetensors"),
        k=3,
    )
    with pytest.raises(KslBenchError, match="after has a value that is not finite in row 7"):
        find_ticket(search)
