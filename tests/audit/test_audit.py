"""The audit of a ticket on models: what it counts, the counterexample, and what it refuses."""

import copy
import json
import sys
from dataclasses import replace

import pytest
import torch

from ksl_bench import tiny_base
from ksl_bench.audit.files import Question, certify_files
from ksl_bench.audit.inputs import check_ticket, counterexample, differing, input_rows
from ksl_bench.audit.predictions import (
    Smoothing,
    count_classes,
    predict,
    sample_examples,
    smoothed_classes,
)
from ksl_bench.audit.report import audit, sizes_of
from ksl_bench.cli import main
from ksl_bench.config import ModelSpec
from ksl_bench.data.batching import Encoded
from ksl_bench.errors import ConfigError, ModelError, TicketError
from ksl_bench.lottery.kstest import ks_distances
from ksl_bench.lottery.ticket import matrix_digest
from ksl_bench.models import find_model, load_model, load_tokenizer, tokenizer_digest

EXAMPLES = [Encoded((1, 5 + i, 9, 5), (30 + i, 31, 2)) for i in range(6)]
TOKENS = [1, 5, 9, 30, 31, 6, 7, 8]
NONE = Smoothing(positions=0)
FEW = Smoothing(sigmas=(0.02,), draws=100, positions=4)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(find_model(ModelSpec(name_or_path="tiny-base")))


@pytest.fixture
def base(make_llama):
    return make_llama()


@pytest.fixture
def tuned(make_llama):
    """The base with a random change of all the rows that the examples use."""
    model = make_llama()
    change = torch.randn(200, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        model.get_input_embeddings().weight += 0.02 * change
    return model


@pytest.fixture
def ticket(make_ticket, base, tokenizer):
    digests = {
        "base_digest": matrix_digest(input_rows(base)),
        "tokenizer_digest": tokenizer_digest(tokenizer),
    }
    return replace(make_ticket(TOKENS), **digests)


@pytest.fixture
def run(base, tuned, ticket, tokenizer):
    def call(*, sizes=(2, 8), smoothing=NONE):
        return audit(base, tuned, ticket, tokenizer, EXAMPLES, sizes=sizes, smoothing=smoothing)

    return call


def test_the_counterexample_is_certified_everywhere_and_agrees_nowhere():
    """D = 0 for every row, the rule certifies all, and every disagreement is a violation."""
    found = certify_files(Question(counterexample=True, sizes=(18,), smoothing=NONE)).report
    (entry,) = found["tickets"]
    rule = entry["ks_sum"]
    assert (rule["certified_share"], rule["median_distance_sum"]) == (1.0, 0.0)
    assert rule["certified_where_prefix_changed"] == found["positions"]
    assert entry["agreement"]["share"] <= 0.05
    assert rule["violations"] == rule["disagreements"] > 0.95 * found["positions"]
    assert found["ks_sum_is_sound"] is False
    assert found["other_parameters_equal"] is True


def test_the_counterexample_keeps_the_values_of_every_row(base, tokenizer):
    tuned, ticket = counterexample(base, tokenizer, name="base", k=3)
    before, after = input_rows(base), input_rows(tuned)
    assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)
    assert ks_distances(before, after).eq(0).all()
    assert differing(base, tuned) == []
    check_ticket(ticket, before, after, tokenizer)


def test_smoothing_does_not_fall_for_the_counterexample():
    smoothing = Smoothing(sigmas=(0.1,), draws=100, positions=5)
    question = Question(counterexample=True, sizes=(18,), limit=1, smoothing=smoothing)
    (row,) = certify_files(question).report["tickets"][0]["smoothing"]
    assert (row["certified"], row["violations"]) == (0, 0)
    assert row["tested"] > 0
    assert row["median_delta"] > row["largest_possible_radius"]


def test_predictions_are_those_of_each_prefix_alone(base):
    found = predict(base, EXAMPLES[:2])
    place = 0
    for one in EXAMPLES[:2]:
        for at in range(len(one.response_ids)):
            prefix = torch.tensor([[*one.prompt_ids, *one.response_ids[:at]]])
            best = base(prefix).logits[0, -1].double().softmax(-1).topk(2)
            assert found.top_P[place] == best.indices[0]
            assert found.first_P[place].item() == pytest.approx(best.values[0].item(), abs=1e-6)
            assert found.second_P[place].item() == pytest.approx(best.values[1].item(), abs=1e-6)
            place += 1
    assert len(found.top_P) == place


def test_the_audited_model_is_the_base_with_the_first_rows_of_the_tuned_model(
    run, make_llama, tuned
):
    plain, wanted = make_llama(), tuned.get_input_embeddings().weight
    with torch.no_grad():
        plain.get_input_embeddings().weight[TOKENS[:2]] = wanted[TOKENS[:2]]
    records = [one for one in run().records if one["k"] == 2]
    assert [one["audited_top"] for one in records] == predict(plain, EXAMPLES).top_P.tolist()
    assert [one["tuned_top"] for one in records] == predict(tuned, EXAMPLES).top_P.tolist()


def test_sums_and_norms_cover_the_prefix_outside_the_ticket(run, make_llama, tuned):
    before, after = input_rows(make_llama()), input_rows(tuned)
    distances, change = ks_distances(before, after), (after - before).double()
    records = iter(one for one in run().records if one["k"] == 2)
    for one in EXAMPLES:
        for at in range(len(one.response_ids)):
            prefix = [*one.prompt_ids, *one.response_ids[:at]]
            left = [token for token in prefix if token not in TOKENS[:2]]
            record = next(records)
            assert record["distance_sum"] == pytest.approx(
                distances[sorted(set(left))].sum().item()
            )
            assert record["delta_norm"] == pytest.approx(change[left].norm().item())


def test_where_the_ticket_holds_the_whole_prefix_nothing_can_disagree(run):
    whole = run().report["tickets"][1]
    covered = sum(
        all(token in TOKENS for token in [*one.prompt_ids, *one.response_ids[:at]])
        for one in EXAMPLES
        for at in range(len(one.response_ids))
    )
    assert whole["unchanged_positions"] == covered > 0
    assert whole["ks_sum"]["violations"] == 0
    rule = whole["ks_sum"]
    assert rule["certified_where_prefix_changed"] == rule["certified"] - covered


def test_agreement_is_counted_where_base_and_tuned_differ(run):
    found = run()
    entry = found.report["tickets"][0]["agreement"]
    records = [one for one in found.records if one["k"] == 2]
    contested = [one for one in records if one["base_top"] != one["tuned_top"]]
    agreed = [one["audited_top"] == one["tuned_top"] for one in contested]
    assert entry["contested_positions"] == len(contested) == found.report["base_and_tuned_differ"]
    assert entry["contested_share"] == (sum(agreed) / len(agreed) if agreed else None)


def test_a_tuned_model_that_is_the_base_has_no_contested_position(base, ticket, tokenizer):
    same = copy.deepcopy(base)
    found = audit(base, same, ticket, tokenizer, EXAMPLES, sizes=(2,), smoothing=FEW).report
    (entry,) = found["tickets"]
    assert entry["agreement"]["contested_share"] is None
    (row,) = entry["smoothing"]
    assert (row["tested"], row["unchanged"], row["median_radius"]) == (0, row["positions"], None)


def test_classes_under_noise_are_counted_per_position(base):
    counts = count_classes(base, EXAMPLES[0], sigma=0.1, draws=130, stream=(0,))
    assert counts.shape == (3, 200)
    assert counts.sum(dim=1).tolist() == [130] * 3
    assert torch.equal(counts, count_classes(base, EXAMPLES[0], sigma=0.1, draws=130, stream=(0,)))
    other = count_classes(base, EXAMPLES[0], sigma=0.1, draws=130, stream=(1,))
    assert not torch.equal(counts, other)


def test_without_noise_to_speak_of_the_class_is_the_plain_one(base):
    classes = smoothed_classes(base, EXAMPLES, [0, 3], sigma=1e-7, draws=10, stream=())
    plain = predict(base, [EXAMPLES[0], EXAMPLES[3]])
    assert classes.tolist() == plain.top_P.tolist()


def test_smoothing_certifies_where_the_radius_exceeds_the_change(run):
    found = run(smoothing=FEW)
    for entry in found.report["tickets"]:
        (row,) = entry["smoothing"]
        records = [one for one in found.records if one["k"] == entry["k"] and one["smoothing"]]
        assert row["positions"] == len(records) == row["tested"] + row["unchanged"]
        certified = [0 < one["delta_norm"] < one["smoothing"][0]["radius"] for one in records]
        assert row["certified"] == sum(certified)
        assert row["bonferroni"] == pytest.approx(0.001 * row["tested"])


def test_a_small_change_is_certified_by_smoothing(base, ticket, tokenizer):
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        tuned.get_input_embeddings().weight[5] += 1e-6
    part = replace(ticket, k=1, rows=ticket.rows[:1])
    smoothing = Smoothing(sigmas=(0.001,), draws=100, positions=18)
    found = audit(base, tuned, part, tokenizer, EXAMPLES, sizes=(1,), smoothing=smoothing).report
    (row,) = found["tickets"][0]["smoothing"]
    assert row["certified"] > 0
    assert row["violations"] == 0


def test_whole_examples_are_sampled_until_there_are_enough_positions():
    assert sample_examples(EXAMPLES, positions=0, seed=0) == []
    assert len(sample_examples(EXAMPLES, positions=4, seed=0)) == 2
    assert sample_examples(EXAMPLES, positions=99, seed=0) == list(range(6))
    assert sample_examples(EXAMPLES, positions=4, seed=0) == sample_examples(
        EXAMPLES, positions=4, seed=0
    )


def test_a_change_elsewhere_breaks_the_assumption_and_is_no_error(run, tuned):
    with torch.no_grad():
        tuned.get_output_embeddings().weight[0, 0] += 1
    found = run().report
    assert found["other_parameters_equal"] is False
    assert found["other_parameters_differing"] == ["lm_head.weight"]
    assert found["assumptions"][0]["holds"] is False


def test_another_configuration_is_a_difference(base, tuned):
    tuned.config.rms_norm_eps = 1e-3
    assert differing(base, tuned) == ["config.rms_norm_eps"]


def test_sizes_are_the_asked_for_or_the_usual_ones(make_ticket):
    ticket = make_ticket(list(range(30)))
    assert sizes_of(ticket, []) == (4, 18, 30)
    assert sizes_of(ticket, [7, 3, 7]) == (3, 7)
    for k in (0, 31):
        with pytest.raises(TicketError, match=f"from 1 to 30, the ticket's rows, got {k}"):
            sizes_of(ticket, [k])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_digest": "1" * 64}, "this model has another one"),
        ({"tensor": "output_head"}, "only tickets of input_embedding"),
        ({"tokenizer_digest": "1" * 64}, "tokenizer"),
        ({"values": "trained", "row_values": torch.zeros(8, 32)}, "values are trained"),
        ({"values": "transferred", "row_values": torch.zeros(8, 32)}, "another tuned model: 8 of"),
        ({"values": "transferred", "row_values": torch.zeros(8, 31)}, "31 wide, the model's 32"),
    ],
)
def test_a_ticket_that_does_not_fit_is_refused(base, tuned, ticket, tokenizer, change, said):
    with pytest.raises(TicketError, match=said):
        check_ticket(replace(ticket, **change), input_rows(base), input_rows(tuned), tokenizer)


def test_the_tuned_rows_of_a_transferred_ticket_are_accepted(base, tuned, ticket, tokenizer):
    rows = input_rows(tuned)
    same = replace(ticket, values="transferred", row_values=rows[TOKENS].clone())
    check_ticket(same, input_rows(base), rows, tokenizer)


def test_a_ticket_s_fp32_values_are_compared_as_the_models_hold_them(
    make_llama, tuned, ticket, tokenizer
):
    rough, values = copy.deepcopy(tuned).to(torch.bfloat16), input_rows(tuned)[TOKENS].clone()
    rows, base_rows = input_rows(rough), input_rows(make_llama(dtype=torch.bfloat16))
    exact = replace(
        ticket, base_digest=matrix_digest(base_rows), values="transferred", row_values=values
    )
    check_ticket(exact, base_rows, rows, tokenizer, dtype=torch.bfloat16)
    with pytest.raises(TicketError, match="another tuned model"):
        check_ticket(exact, base_rows, rows, tokenizer)


def test_models_that_do_not_fit_are_refused(base, tuned, ticket, tokenizer):
    rows = input_rows(tuned)
    with pytest.raises(ModelError, match=r"shape \(199, 32\)"):
        check_ticket(ticket, input_rows(base), rows[:-1], tokenizer)
    rows[3, 3] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        check_ticket(ticket, input_rows(base), rows, tokenizer)


@pytest.mark.parametrize(
    "fields",
    [
        {"sigmas": (0.0,)},
        {"sigmas": (float("nan"),)},
        {"draws": 99},
        {"alpha": 1.0},
        {"positions": -1},
    ],
)
def test_smoothing_refuses_what_is_out_of_range(fields):
    with pytest.raises(ConfigError, match="must"):
        Smoothing(**fields)


@pytest.fixture
def ksl(monkeypatch, capfd):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ksl-bench", "certify", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        text = capfd.readouterr()
        return int(caught.value.code or 0), text.out, text.err

    return call


@pytest.fixture
def files(tmp_path, tokenizer):
    """A tuned model, its ticket and text, as files."""
    base = load_model(find_model(ModelSpec(name_or_path="tiny-base")), precision="fp32")
    tuned, ticket = counterexample(base, tokenizer, name="tiny-base", k=4)
    tuned.save_pretrained(tmp_path / "tuned")
    ticket.save(tmp_path / "ticket")
    (tmp_path / "text.tsv").write_text("The cat sees.\tEl gat veu.\n" * 2, encoding="utf-8")
    names = {"tuned": "tuned", "ticket": "ticket", "text": "text.tsv"}
    return {"base": str(tiny_base.PATH)} | {one: tmp_path / name for one, name in names.items()}


def options(files, *more):
    return [part for name, value in files.items() for part in (f"--{name}", value)] + list(more)


def test_the_command_prints_json_and_writes_positions(ksl, files, tmp_path):
    lines = tmp_path / "positions.jsonl"
    few = ("--samples", 100, "--sigma", 0.1, "--smoothed-positions", 1, "--limit", 1)
    code, out, err = ksl(*options(files, "--json", "--positions", lines, *few))
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["sentences"] == 1
    assert [one["k"] for one in report["tickets"]] == [4]
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(records) == report["positions"]
    assert {one["smoothing"][0]["sigma"] for one in records} == {0.1}


def test_tables_fit_and_say_that_the_rule_is_not_sound(ksl):
    code, out, _ = ksl(
        *("--counterexample", "--limit", 1, "--samples", 100, "--smoothed-positions", 1)
    )
    assert code == 0
    assert "NOT sound" in " ".join(out.split())
    assert "100.0 %" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_command_refuses_what_does_not_go_together(ksl, files):
    assert ksl()[::2] == (
        2,
        "".join(f"error: {one}: must be given\n" for one in ("base", "tuned", "ticket", "text")),
    )
    code, _, err = ksl("--counterexample", "--tuned", files["tuned"])
    assert (code, err) == (2, "error: tuned: the counterexample brings its own\n")


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("text", "one\tun\n\ntwo\tdos\n", "text.tsv:2: "),
        ("text", "one\tun\ntwo\n", "text.tsv:2: "),
        ("text", "one\t \n", "text.tsv:1: empty segment"),
        ("text", None, "no such file"),
        ("ticket", None, "cannot be read"),
        ("tuned", None, "tuned: "),
    ],
)
def test_the_command_names_the_file_that_is_wrong(ksl, files, option, content, said):
    if content is None:
        files[option] = files[option].parent / "nothing"
    else:
        files[option].write_text(content, encoding="utf-8")
    code, out, err = ksl(*options(files))
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
