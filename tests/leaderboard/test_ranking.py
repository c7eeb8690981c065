import pytest

from ksl_bench.leaderboard import read_board, remarks
from ksl_bench.leaderboard.tables import rank_text
from tests.boards import Written, written

SEEDS = [0, 1, 2, 3, 4]


def ranks(made):
    board = read_board(made.done(), made.name)
    return {row["baseline"]: row["ranking"] for row in board.rows}, board


def test_clearly_different_rows_have_ranks_of_their_own(tmp_path):
    made = Written(tmp_path)
    made.scored("low", [0.5] * 5).scored("high", [0.95] * 5).scored("middle", [0.75] * 5)
    found, _ = ranks(made)
    assert {name: (one["best"], one["worst"]) for name, one in found.items()} == {
        "low": (3, 3),
        "high": (1, 1),
        "middle": (2, 2),
    }


def test_identical_rows_share_their_rank(tmp_path):
    made = (
        Written(tmp_path)
        .scored("one", [0.9] * 5)
        .scored("same", [0.9] * 5)
        .scored("low", [0.5] * 5)
    )
    found, board = ranks(made)
    assert rank_text(found["one"]) == rank_text(found["same"]) == "1-2"
    ((group,),) = board.rankings.values()
    pair = group.ranking.pairs[0]
    assert (pair.difference.interval.value, pair.adjusted_p_value) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"train": {"steps": 500}},
            "budget 500 steps of 16 examples, not 120 steps of 16 examples",
        ),
        ({"train": {"precision": "bf16"}}, "precision bf16, not fp32"),
        (
            {"search": {"trials": 9, "space": "s", "seeds": [7], "steps": 1, "device_hours": 1.0}},
            "search 9 choices on dev, not none",
        ),
        (
            {"train": {"data_share": 0.1}},
            "budget 120 steps of 16 examples of 10 % of the data, not 120 steps of 16 examples",
        ),
        (
            {"data": {"digest": "another text", "origin": "by hand"}},
            "text another text, 60 sentences, not digest of de, 60 sentences",
        ),
        ({"signature": "version 9"}, "signature version 9, not"),
    ],
)
def test_rows_under_other_terms_are_ranked_apart_and_the_board_says_why(tmp_path, fields, why):
    made = Written(tmp_path).scored("base", [0.5], method="none")
    made.scored("one", [0.8]).scored("two", [0.8]).scored("apart", [0.99], **fields)
    found, board = ranks(made)
    assert found["one"]["group"] == found["two"]["group"] == found["base"]["group"] == 0
    assert (found["apart"]["group"], found["apart"]["of"]) == (1, 1)
    assert rank_text(found["apart"]) == "1b"
    assert any(one.startswith(f"ranked apart: apart: {why}") for one in remarks(board))


def test_rows_with_missing_seeds_are_not_ranked(tmp_path):
    made = Written(tmp_path).scored("one", [0.8, 0.8])
    made.row("one", 2, "0" * 20)
    found, _ = ranks(made)
    assert found["one"]["best"] is None
    assert found["one"]["not_ranked"] == "2 of 3 seeds finished"
    assert rank_text(found["one"]) == ""


def test_probes_and_transfers_are_not_ranked(tmp_path):
    made = Written(tmp_path).scored("ks", [0.8]).scored("only", [0.7], probe={"of": "ks"})
    found, _ = ranks(made)
    assert found["only"]["not_ranked"] == "a probe of another row"


def test_written_text_is_the_same_for_the_same_arguments():
    assert written(0.9, 3) == written(0.9, 3) != written(0.9, 4)
