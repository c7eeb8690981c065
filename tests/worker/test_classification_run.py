"""Classification through a real worker, and on to the leaderboard, the report and MLflow."""

import json

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.metrics import f1_score

from ksl_bench.benchmark import Execution
from ksl_bench.data.controlled.topics import TOPICS
from ksl_bench.in_process import InProcessPool
from ksl_bench.leaderboard import FORMATS, as_tables, caption, read_board
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.report import as_html
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.tracking import Tracker, tracking_uri

SETTINGS = [
    "seeds=[0]",
    "task.train_size=64",
    "task.devtest_size=30",
    "evaluate.bootstrap_samples=100",
    "train.micro_batch_size=8",
    """baselines=[base, {recipe: full, train: {learning_rate: 0.003, steps: 12}},
    {recipe: embedding, train: {steps: 4}}, {recipe: ks_partial_k18, train: {steps: 4}}]""",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("classification", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, store).run(InProcessPool(plan, store))
    assert tally.complete, tally
    store.plans.write(suite.name, plan.record())
    return store, {row.baseline: row for row in plan.rows}


def outputs_of(made, name):
    store, rows = made
    return [
        json.loads(line)
        for line in store.read_lines("evaluation", rows[name].evaluation_key, "outputs.jsonl")
    ]


def test_the_answer_by_likelihood_is_the_likeliest_label(made):
    for one in outputs_of(made, "full"):
        assert one["likelihood"] == TOPICS[int(np.argmax(one["label_scores"]))]
        assert max(one["label_scores"]) < 0


def test_the_score_is_scikit_learns_on_what_was_written_down(made):
    store, rows = made
    lines = outputs_of(made, "full")
    wanted, given = ([one[field] for one in lines] for field in ("reference", "likelihood"))
    record = store.record("evaluation", rows["full"].evaluation_key)
    score = record["scores"]["likelihood"]["macro_f1"]["value"]
    assert score == pytest.approx(100 * f1_score(wanted, given, average="macro"))


def test_every_language_has_its_own_score(made):
    (row,) = [one for one in read_board(made[0], "classification").rows if one["method"] == "full"]
    by_language = row["by_group"]["language"]
    assert set(by_language) == {"eng", "cat", "deu"}
    lines = outputs_of(made, "full")
    for language, scores in by_language.items():
        here = [one for one in lines if one["language"] == language]
        right = np.mean([one["reference"] == one["likelihood"] for one in here])
        assert scores["likelihood"]["accuracy"]["value"] == pytest.approx(100 * right)
        assert scores["likelihood"]["accuracy"]["examples"] == len(here) == 10


def test_rows_are_ranked_and_judged_by_likelihood(made):
    board = read_board(made[0], "classification")
    assert board.spec.rule == "likelihood"
    assert {one.rule for one in board.verdicts} <= {"likelihood", "raw"}
    said = " ".join(one.text for one in board.verdicts)
    assert "by the likelihood of the labels" in said
    assert "first line" not in said


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_the_rows(made, name):
    text = FORMATS[name](read_board(made[0], "classification"))
    assert "ks_partial_k18" in text


def test_the_table_is_headed_by_the_tasks_own_rules(made):
    board = read_board(made[0], "classification")
    table, by_language = as_tables(board, width=120)
    heads = [str(column.header).replace("-\n", "").replace("\n", " ") for column in table.columns]
    assert heads[2:4] == ["raw", "likelihood"]
    assert "form %" in heads
    assert "learning to answer with a label" in caption(board)
    assert str(by_language.title).startswith("classification, by language")


def test_the_report_has_its_figures_and_words(made):
    page = as_html(read_board(made[0], "classification"), made[0])
    assert "likelihood points of macro-F1" in page
    assert "learning to answer with a label" in page


def test_mlflow_has_the_metrics_by_their_names(made):
    Tracker(made[0]).sync("classification")
    client = MlflowClient(tracking_uri=tracking_uri(made[0], None))
    experiment = client.get_experiment_by_name("classification")
    found = client.search_runs([experiment.experiment_id], "tags.baseline = 'full'")
    assert {"macro_f1/likelihood", "accuracy/raw", "eos_rate"} <= found[0].data.metrics.keys()


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.shared_data
def test_sib_200_runs_end_to_end_and_scores_what_a_base_of_a_hundred_words_can(
    shared_data, tmp_path
):
    labels = ["science/technology", "travel", "politics", "sports", "health", "entertainment"]
    files = [
        f"task.{split}_files={shared_data / 'sib200'}" for split in ("train", "dev", "devtest")
    ]
    settings = [
        *SETTINGS,
        *files,
        f"task.labels=[{', '.join([*labels, 'geography'])}]",
        "task.columns={label: category, document: index_id}",
        "task.languages=[eng, cat]",
        "task.devtest_size=null",
    ]
    store, suite = Store(str(tmp_path)), load_suite("classification", settings)
    plan = make_plan(suite, find_model(suite.model))
    assert Execution(plan, store).run(InProcessPool(plan, store)).complete
    store.plans.write(suite.name, plan.record())
    for row in read_board(store, "classification").rows:
        assert row["sentences"] == 408
        assert set(row["by_group"]["language"]) == {"eng", "cat"}
        assert row["scores"]["likelihood"]["accuracy"]["value"] < 40
        # A sentence in two languages is drawn as one.
        record = store.record("evaluation", row["evaluations"][0])
        assert record["draw"]["groups"] == 204
        assert record["draw"]["unit"] == "documents"
