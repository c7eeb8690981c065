"""The commands that repeat a suite are held against the configuration that they give."""

import pytest

from ksl_bench.leaderboard import Board
from ksl_bench.report.again import how_again
from ksl_bench.store import Store
from ksl_bench.suite import load_suite


def board_of(assignments):
    suite = load_suite("quickstart", assignments).model_dump(mode="json", by_alias=True)
    return Board("quickstart", {"suite": suite, "rows": []}, [], {}, [])


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        ([], "ksl-bench run quickstart --storage again"),
        (["seeds=[0,1]"], "ksl-bench run quickstart --set 'seeds=[0, 1]' --storage again"),
        (
            ["baselines.lora.train.steps=7", "evaluate.split=dev"],
            "ksl-bench run quickstart --set 'baselines.lora.train.steps=7' "
            "--set 'evaluate.split=dev' --storage again",
        ),
    ],
)
def test_a_shipped_suite_is_repeated_by_its_name_and_what_was_set(assignments, said, tmp_path):
    again = how_again(board_of(assignments), Store(str(tmp_path)))
    assert sorted(again.commands[0].split("--set")) == sorted(said.split("--set"))
    assert "field by field" in again.note


def test_what_no_assignment_gives_is_repeated_from_its_file(tmp_path):
    again = how_again(board_of(["baselines=[base, full]"]), Store(str(tmp_path)))
    assert again.commands[0] == "ksl-bench run quickstart.yaml --storage again"
    assert "none of those" in again.note
