"""The leaderboard's run: one a suite, updated in place, left alone where nothing is new."""

import json
from pathlib import Path

import pytest

from ksl_bench.leaderboard import as_csv, as_json, as_markdown, read_board
from ksl_bench.store import key_of
from ksl_bench.tracking import Tracker
from ksl_bench.tracking.board import CUT, describe
from tests.boards import Written
from tests.tracked import runs_of, text_of

MLFLOW_TAKES = 8000
"""Characters of a tag's value, MLflow's own limit."""


def board_of(folder, *, pending=False):
    board = Written(folder)
    board.scored("base", [0.5], method="none", stops=False)
    board.scored("full", [0.9])
    board.scored("ks_k18", [0.8], method="partial_tuning", ticket={"criterion": "ks", "k": 18})
    if pending:
        board.recipe("lora", "lora")
        board.row("lora", 0, key_of({"of": "evaluation"}), state=key_of({"of": "state"}))
    return board


def files_of(client, run):
    paths = [one.path for one in client.list_artifacts(run.info.run_id)]
    return {
        inner
        for path in paths
        for inner in [path, *(one.path for one in client.list_artifacts(run.info.run_id, path))]
    }


def test_a_finished_suite_has_one_run_with_verdicts_tables_figures_and_report(tmp_path):
    store = board_of(tmp_path).done()
    Tracker(store).sync("mine")
    client, (run,) = runs_of(store, kind="leaderboard")
    board = read_board(store, "mine")
    assert run.info.run_name == "leaderboard"
    assert run.info.status == "FINISHED"
    shown, whole = run.data.tags["mlflow.note.content"], as_markdown(board)
    assert shown.startswith("**Verdicts (on the first line, margin 1 BLEU")
    assert "ks_k18 is worse than full" in shown
    assert set(shown.split("\n")) <= set(whole.split("\n"))
    assert text_of(client, run, "leaderboard.md") == whole
    assert run.data.metrics == {"rows": 3.0, "finished": 3.0, "failed": 0.0}
    assert json.loads(text_of(client, run, "leaderboard.json")) == json.loads(as_json(board))
    assert text_of(client, run, "leaderboard.csv").splitlines() == as_csv(board).splitlines()
    assert text_of(client, run, "report.html").startswith("<!doctype html>")
    figures = [path for path in files_of(client, run) if path.startswith("figures/")]
    assert figures
    assert all("<svg" in text_of(client, run, path) for path in figures)


def test_a_second_sync_changes_nothing(tmp_path):
    store = board_of(tmp_path / "store").done()
    Tracker(store).sync("mine")
    client, (run,) = runs_of(store, kind="leaderboard")
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    Tracker(store).sync("mine")
    client, (again,) = runs_of(store, kind="leaderboard")
    assert again.info.run_id == run.info.run_id
    assert again.data.tags == run.data.tags
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(client.get_metric_history(run.info.run_id, "finished")) == 1


def test_a_new_result_updates_the_run_in_place(tmp_path):
    Tracker(board_of(tmp_path).done()).sync("mine")
    store = board_of(tmp_path).scored("lora", [0.85], method="lora").done()
    _, (before,) = runs_of(store, kind="leaderboard")
    Tracker(store).sync("mine")
    _, (after,) = runs_of(store, kind="leaderboard")
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["finished"] == 4.0
    assert "lora" not in before.data.tags["mlflow.note.content"]
    assert "lora" in after.data.tags["mlflow.note.content"]


def test_while_a_suite_runs_the_board_is_shown_without_figures(tmp_path):
    store = board_of(tmp_path, pending=True).done()
    Tracker(store).sync("mine")
    client, (run,) = runs_of(store, kind="leaderboard")
    assert run.info.status == "RUNNING"
    assert files_of(client, run) == {"leaderboard.md", "leaderboard.json", "leaderboard.csv"}


def test_a_suite_of_which_nothing_is_finished_has_no_leaderboard(tmp_path):
    board = Written(tmp_path)
    board.recipe("lora", "lora")
    board.row("lora", 0, key_of({"of": "evaluation"}), state=key_of({"of": "state"}))
    store = board.done()
    Tracker(store).sync("mine")
    assert runs_of(store, kind="leaderboard")[1] == []


@pytest.mark.parametrize("conditions", [1, 12])
def test_a_description_fits_mlflow_and_says_where_it_is_cut(tmp_path, conditions):
    names = [f"prompt{index}" for index in range(conditions)]
    board = Written(tmp_path, conditions={name: {"prompt": "explicit"} for name in names})
    for name in names:
        board.scored("full", [0.9], condition=name)
        board.scored(
            "ks_k18", [0.8], method="partial_tuning", condition=name,
            ticket={"criterion": "ks", "k": 18},
        )  # fmt: skip
    read = read_board(board.done(), "mine")
    text = describe(read)
    assert len(text) <= MLFLOW_TAKES
    assert text.endswith(CUT) == (conditions > 1)
