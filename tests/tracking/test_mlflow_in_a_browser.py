"""MLflow's own pages over a server of its own, in a browser: what people see of a suite."""

import json
import re

import pytest
from mlflow import MlflowClient

from ksl_bench.leaderboard import read_board
from ksl_bench.tracking import Tracker
from tests.boards import Written
from tests.faults.harness import free_port
from tests.machine import PATIENCE_MS, importable, mlflow_server, open_browser

playwright = importable("playwright.sync_api")

pytestmark = pytest.mark.slow

KS = {"criterion": "ks", "k": 18}
BEST = "metrics.`bleu/first_line` DESC"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    board = Written(tmp_path_factory.mktemp("store"), seeds=[0, 1])
    board.scored("base", [0.5, 0.5], method="none", stops=False)
    board.scored("full", [0.9, 0.95])
    board.scored("ks_k18", [0.8, 0.85], method="partial_tuning", ticket=KS)
    return board.done()


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder, free_port()) as address:
        Tracker(store, uri=address).sync("mine")
        yield address


@pytest.fixture(scope="module")
def runs(server):
    """Return the experiment and its runs, the best on the first line first, as the database has them."""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("mine").experiment_id
    return experiment, client.search_runs([experiment], order_by=[BEST])


@pytest.fixture(scope="module")
def browser():
    with open_browser(playwright) as browser:
        yield browser


@pytest.fixture
def show(browser, server):
    """Return what opens a page of the server's."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)

    def call(path):
        page = context.new_page()
        page.goto(f"{server}/#{path}")
        return page

    yield call
    context.close()


def test_the_table_of_runs_is_sorted_by_the_first_line(show, runs):
    experiment, found = runs
    order = (
        "workflowType=machine_learning&orderByKey=metrics.%60bleu%2Ffirst_line%60&orderByAsc=false"
    )
    page = show(f"/experiments/{experiment}/runs?{order}")
    page.get_by_text("Sort: bleu/first_line").wait_for()
    names = page.get_by_role("link", name=re.compile(r"^(\w+ seed \d|leaderboard)$"))
    names.first.wait_for()
    page.wait_for_function(
        "count => document.body.innerText.includes(`${count} matching runs`)", arg=len(found)
    )
    shown = sorted((one.bounding_box()["y"], one.inner_text()) for one in names.all())
    assert [name for _, name in shown] == [one.info.run_name for one in found]
    assert shown[0][1].startswith("full")
    assert shown[-1][1] == "leaderboard"


def test_three_runs_stand_side_by_side(show, runs):
    experiment, found = runs
    three = found[:3]
    chosen = json.dumps([one.info.run_id for one in three])
    page = show(f"/compare-runs?runs={chosen}&experiments={json.dumps([experiment])}")
    page.get_by_text("Comparing 3 Runs from 1 Experiment").wait_for()
    for late in ("bleu/first_line", "config.yaml"):  # the page asks for artifacts at the end
        page.get_by_text(late).first.wait_for()
    text = page.locator("body").inner_text()
    for one in three:
        assert one.info.run_name in text
        assert f"{round(one.data.metrics['bleu/first_line'], 2):g}" in text
    for name in ("baseline", "criterion", "signature.bleu"):
        assert name in text


def test_the_run_of_the_leaderboard_shows_verdicts_and_table(show, runs, store):
    experiment, found = runs
    board = next(one for one in found if one.data.tags["kind"] == "leaderboard")
    page = show(f"/experiments/{experiment}/runs/{board.info.run_id}")
    page.get_by_text("Verdicts (on the first line, margin 1 BLEU)").wait_for()
    text = page.locator("body").inner_text()
    told = [
        one for one in read_board(store, "mine").verdicts
        if one.question == "replaces" and one.rule == "first_line"
    ]  # fmt: skip
    assert told
    assert all(one.text in text for one in told)
    assert "Finished" in text
    heads = page.get_by_role("columnheader").all_inner_texts()
    assert {"baseline", "first line", "rank"} <= set(heads)
