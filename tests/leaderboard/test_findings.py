"""What a replication of the paper found, as verdicts have to say it.

A base that translates and does not stop; tickets that all learn to stop; rows drawn by chance that learn
nothing. Source of the findings: docs/controls.md.
"""

import pytest

from ksl_bench.leaderboard import read_board
from tests.boards import Written

SEEDS = 3


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    made = Written(
        tmp_path_factory.mktemp("store"), task={"prompt": "explicit"}, seeds=list(range(SEEDS))
    )
    made.scored("base", [0.9] * SEEDS, method="none", stops=False)
    made.scored("full", [0.92, 0.93, 0.92])
    made.scored("lora", [0.91, 0.92, 0.91], method="lora")
    rows = {"ks": [0.9, 0.91, 0.9], "frequency": [0.91, 0.9, 0.9], "random": [0.9, 0.9, 0.9]}
    for criterion, qualities in rows.items():
        made.scored(
            f"{criterion}_k18",
            qualities,
            method="partial_tuning",
            ticket={"criterion": criterion, "k": 18},
            stops=criterion != "random",
        )
    board = read_board(made.done(), made.name)
    return {
        (one.question, one.baseline, *one.against[:1]): one
        for one in board.verdicts
        if one.rule == "first_line" or one.question == "termination"
    }


def test_the_gain_of_the_ticket_is_told_to_be_learning_to_stop(found):
    said = found["termination", "ks_k18", "base"]
    assert said.verdict == "termination"
    share = int(said.text.split(" % of what ks_k18 gains on the raw output is learning to stop")[0])
    assert share >= 90
    assert said.text.endswith("which may be nothing")


def test_the_test_is_not_shown_better_than_frequency(found):
    said = found["controls", "ks_k18", "frequency_k18"]
    assert said.verdict == "not_shown_better"
    assert "ks_k18 is, on the first line, not shown better than the 18 most frequent tokens (" in (
        said.text
    )


def test_chance_is_not_shown_better_than_the_base(found):
    said = found["chance", "random_k18", "base"]
    assert said.verdict in ("nothing", "not_shown_better")
    words = {
        "nothing": "random_k18 gains less than 1 BLEU over the base: ",
        "not_shown_better": "random_k18 is not shown better than the base: ",
    }
    assert said.text.startswith(words[said.verdict])


def test_no_share_is_told_of_what_chance_gains(found):
    assert ("termination", "random_k18", "base") not in found


@pytest.mark.parametrize("other", ["full", "lora"])
def test_a_ticket_replaces_another_only_where_the_interval_says_so(found, other):
    said = found["replaces", "ks_k18", other]
    (gap,) = said.comparisons
    assert (said.verdict == "non_inferior") is (gap["low"] > -1)
    assert (said.verdict == "worse") is (gap["high"] < -1)
