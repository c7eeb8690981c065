"""Detection through a real worker: every kind of detector, thresholds from dev, votes, the leaderboard."""

import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score, roc_curve

from ksl_bench.benchmark import Execution
from ksl_bench.config import ModelSpec
from ksl_bench.in_process import InProcessPool
from ksl_bench.leaderboard import FORMATS, as_tables, read_board
from ksl_bench.models import find_model, load_model, load_tokenizer
from ksl_bench.plan import make_plan
from ksl_bench.report import as_html
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.tasks import build_task

SETTINGS = [
    "seeds=[0]",
    "task.train_size=32",
    "task.dev_size=150",
    "task.devtest_size=60",
    "evaluate.bootstrap_samples=100",
    "train.micro_batch_size=8",
    """baselines=[base, {recipe: full, train: {steps: 4}}, {recipe: lora, train: {steps: 4}}, entropy, rank,
    log_rank, binoculars, statistical_vote, two_step_vote]""",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("detection", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, store).run(InProcessPool(plan, store))
    assert tally.complete, tally
    store.plans.write(suite.name, plan.record())
    return store, {row.baseline: row for row in plan.rows}


def outputs_of(made, name):
    store, rows = made
    key = rows[name].evaluation_key
    return [json.loads(line) for line in store.read_lines("evaluation", key, "outputs.jsonl")]


def result_of(made, name):
    store, rows = made
    return store.record("evaluation", rows[name].evaluation_key)


@pytest.mark.parametrize("name", ["base", "full", "entropy", "binoculars"])
def test_labels_follow_from_scores_and_thresholds(made, name):
    told = result_of(made, name)["calibration"]
    for line in outputs_of(made, name):
        for rule, threshold in (
            ("global", told["threshold"]),
            ("calibrated", told["by_language"].get(line["language"], told["threshold"])),
        ):
            above = threshold is not None and line["scores"][rule] >= threshold
            assert line[rule] == ("machine" if above else "human")


def test_thresholds_come_from_dev_and_from_nothing_else(made):
    """They are what scikit-learn chooses on dev, where a plain loop computed the statistic."""
    task = build_task(load_suite("detection", SETTINGS).task)
    scores, machine, languages = [], [], []
    reference = find_model(load_suite("detection", SETTINGS).model)
    model, tokenizer = load_model(reference, precision="fp32"), load_tokenizer(reference)
    for one in task.read("dev").items:
        ids = torch.tensor([tokenizer(one.fields["text"])["input_ids"]])
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0].double()
        ranks = [
            1 + int((logits[at] > logits[at, ids[0, at + 1]]).sum())
            for at in range(ids.shape[1] - 1)
        ]
        scores.append(-np.mean(np.log(ranks)))
        machine.append(one.wanted == "machine")
        languages.append(one.groups["language"])
    told = result_of(made, "log_rank")["calibration"]
    assert told["texts"] == len(scores) == 150
    for language, threshold in {None: told["threshold"], **told["by_language"]}.items():
        here = [at for at, one in enumerate(languages) if language in (None, one)]
        false, true, thresholds = roc_curve(
            np.array(machine)[here], np.array(scores)[here], drop_intermediate=False
        )
        best = thresholds[np.isclose(true - false, (true - false).max(), atol=1e-9)]
        assert threshold == pytest.approx(best[0], abs=1e-4), language


@pytest.mark.parametrize("name", ["full", "rank", "two_step_vote"])
def test_scores_are_scikit_learns_on_what_was_written_down(made, name):
    lines = outputs_of(made, name)
    wanted = [one["reference"] for one in lines]
    for rule, scores in result_of(made, name)["scores"].items():
        given = [one[rule] for one in lines]
        assert scores["accuracy"]["value"] == pytest.approx(100 * accuracy_score(wanted, given))
        macro = f1_score(wanted, given, average="macro")
        assert scores["macro_f1"]["value"] == pytest.approx(100 * macro)
        area = roc_auc_score(
            [one == "machine" for one in wanted], [one["scores"][rule] for one in lines]
        )
        assert scores["auc"]["value"] == pytest.approx(100 * area)


def test_a_generator_is_scored_against_all_human_texts(made):
    lines = outputs_of(made, "log_rank")
    human = [one for one in lines if one["reference"] == "human"]
    by_generator = result_of(made, "log_rank")["by_group"]["generator"]
    assert set(by_generator) == {f"tiny-base T={one}" for one in (0.5, 0.7, 1.0)}
    for generator, scores in by_generator.items():
        here = [*human, *(one for one in lines if one["generator"] == generator)]
        area = roc_auc_score(
            [one["reference"] == "machine" for one in here],
            [one["scores"]["calibrated"] for one in here],
        )
        assert scores["calibrated"]["auc"]["value"] == pytest.approx(100 * area)
        assert scores["calibrated"]["auc"]["examples"] == len(here)


def test_votes_count_what_the_voters_said(made):
    for rule in ("global", "calibrated"):
        said = {
            name: [one[rule] == "machine" for one in outputs_of(made, name)]
            for name in ("entropy", "rank", "binoculars", "full", "lora")
        }
        statistical = [
            sum(votes) >= 2
            for votes in zip(
                *(said[name] for name in ("entropy", "rank", "binoculars")), strict=True
            )
        ]
        final = [
            sum(votes) >= 2 for votes in zip(said["full"], said["lora"], statistical, strict=True)
        ]
        found = [one[rule] == "machine" for one in outputs_of(made, "statistical_vote")]
        assert found == statistical
        assert [one[rule] == "machine" for one in outputs_of(made, "two_step_vote")] == final


def test_a_vote_pays_for_every_detector_behind_it_once(made):
    cost = result_of(made, "two_step_vote")["cost"]
    assert [one["step"] for one in cost["earlier"]] == [
        "full", "lora", "entropy", "rank", "binoculars",
    ]  # fmt: skip
    store, rows = made
    full, lora = (
        store.record("state", rows[name].state_key)["cost"]["train_seconds"]
        for name in ("full", "lora")
    )
    assert full > 0
    # Binoculars' performer is full's state, which the vote has paid for already.
    assert [one["train_seconds"] for one in cost["earlier"]] == [full, lora, 0, 0, 0]
    assert cost["earlier_seconds"] == pytest.approx(full + lora)
    evaluations = sum(
        result_of(made, name)["cost"]["evaluate_seconds"]
        for name in ("full", "lora", "entropy", "rank", "binoculars")
    )
    assert cost["evaluate_seconds"] >= evaluations
    assert cost["device_hours"] == pytest.approx((full + lora + cost["evaluate_seconds"]) / 3600)


def test_a_statistic_of_two_models_pays_for_its_performer_by_name(made):
    cost = result_of(made, "binoculars")["cost"]
    full = result_of(made, "full")["cost"]["train_seconds"]
    assert cost["earlier"] == [{"step": "full", "selection_seconds": 0, "train_seconds": full}]
    statistical = result_of(made, "statistical_vote")["cost"]
    assert [one["train_seconds"] for one in statistical["earlier"]] == [0, 0, full]


@pytest.mark.parametrize(
    "broken", [lambda one: one.replace(b'"human"', b'"machin"'), lambda one: one[:-20]]
)
def test_a_vote_over_a_broken_voter_has_it_made_again(made, tmp_path, broken):
    store, rows = made
    root = tmp_path / "store"
    shutil.copytree(store.root, root)
    copy, vote = Store(str(root)), rows["statistical_vote"]
    (path,) = root.rglob(f"*{rows['rank'].evaluation_key}*/outputs.jsonl")
    before = path.read_bytes()
    path.write_bytes(broken(before))
    for record in root.rglob(f"*{vote.evaluation_key}*"):
        record.unlink() if record.is_file() else shutil.rmtree(record)
    suite = load_suite("detection", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, copy).run(InProcessPool(plan, copy))
    assert tally.complete, tally
    assert tally.made == 2  # the vote, and the voter that was set aside
    again = copy.record("evaluation", vote.evaluation_key)
    assert again["scores"] == result_of(made, "statistical_vote")["scores"]
    assert copy.read_bytes("evaluation", rows["rank"].evaluation_key, "outputs.jsonl") == before


def test_rows_gain_over_the_base_and_are_judged_by_the_calibrated_rule(made):
    board = read_board(made[0], "detection")
    assert board.spec.rule == "calibrated"
    rows = {one["baseline"]: one for one in board.rows}
    assert rows["base"]["gains"] is None
    for name in ("full", "rank", "two_step_vote"):
        gain = rows[name]["scores"]["calibrated"]["accuracy"]["value"]
        gain -= rows["base"]["scores"]["calibrated"]["accuracy"]["value"]
        assert rows[name]["gains"]["calibrated"]["accuracy"]["value"] == pytest.approx(gain)
    assert rows["rank"]["statistic"] == "rank"
    assert rows["two_step_vote"]["vote"] == ["full", "lora", "statistical_vote"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_the_rows(made, name):
    assert "two_step_vote" in FORMATS[name](read_board(made[0], "detection"))


def test_the_table_and_the_report_use_the_tasks_own_words(made):
    board = read_board(made[0], "detection")
    rows, by_language, by_generator = as_tables(board, width=120)
    heads = [str(column.header).replace("\n", " ") for column in rows.columns]
    assert heads[2:4] == ["global", "calibrated"]
    assert {str(one.header) for one in by_language.columns} >= {"eng", "cat", "deu"}
    assert len(by_generator.columns) == 2 + 3
    assert "by a threshold for each language" in as_html(board, made[0])


def test_what_a_vote_waits_for_is_told(tmp_path):
    store = Store(str(tmp_path))
    suite = load_suite("detection", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    store.plans.write(suite.name, plan.record())
    rows = {row.baseline: row for row in plan.rows}
    store.fail("state", rows["full"].state_key, "diverged", "the loss is nan")
    found = {one["baseline"]: one for one in read_board(store, "detection").rows}
    assert found["two_step_vote"]["status"] == "skipped"
    assert (
        found["two_step_vote"]["reason"]
        == "the tuning of its voter full is diverged: the loss is nan"
    )
    assert found["binoculars"]["reason"] == "its performer full is diverged: the loss is nan"


def test_a_performer_that_is_a_model_of_its_own_is_looked_at(tmp_path):
    """A copy of the base with other weights performs; a base that performs for itself is another detector."""
    reference = find_model(load_suite("detection", SETTINGS).model)
    model, tokenizer = load_model(reference, precision="fp32"), load_tokenizer(reference)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(0.5)
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    store = Store(str(tmp_path / "store"))
    ratios, lines = {}, {}
    for name in ("tiny-base", str(tmp_path / "other")):
        performer = f"{{baseline: null, model: {{name_or_path: '{name}'}}}}"
        suite = load_suite(
            "detection",
            [
                *SETTINGS,
                "task.dev_size=60",
                "task.devtest_size=6",
                f"baselines=[base, {{recipe: binoculars, statistic: {{performer: {performer}}}}}]",
            ],
        )
        plan = make_plan(suite, reference)
        assert Execution(plan, store).run(InProcessPool(plan, store)).complete
        (key,) = (row.evaluation_key for row in plan.rows if row.baseline == "binoculars")
        lines[name] = [
            json.loads(one) for one in store.read_lines("evaluation", key, "outputs.jsonl")
        ]
        performs = load_model(find_model(ModelSpec(name_or_path=name)), precision="fp32")
        observes = load_model(reference, precision="fp32")
        ratios[name] = [_ratio(observes, performs, tokenizer, one["text"]) for one in lines[name]]
    for name, wanted in ratios.items():
        found = [one["scores"]["global"] for one in lines[name]]
        assert found == pytest.approx(wanted, rel=1e-3)
    assert ratios["tiny-base"] != pytest.approx(ratios[str(tmp_path / "other")], rel=1e-2)


@torch.no_grad()
def _ratio(observer, performer, tokenizer, text):
    """Hans et al. 2024, equation 4, a token after the other; its sign turned: high speaks for a machine."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    seen, played = (
        one(input_ids=ids).logits[0].double().log_softmax(-1) for one in (observer, performer)
    )
    surprise, crossed = [], []
    for place, token in enumerate(ids[0, 1:].tolist()):
        surprise.append(-played[place, token].item())
        crossed.append(-(seen[place].exp() * played[place]).sum().item())
    return -sum(surprise) / sum(crossed)
