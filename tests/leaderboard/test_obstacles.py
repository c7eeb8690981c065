"""What may not be judged: rows with seeds that came to nothing, and rows tuned or scored differently."""

import pytest

from ksl_bench.leaderboard import read_board
from tests.boards import Written

SEEDS = 5
MISSING = "2 of 5 seeds of ticket finished, the others diverged"
LONG = {"steps": 5000}
BUDGET = "tuned under another budget (120 steps of 16 examples, not 5000 steps of 16 examples)"


def start(folder, **suite):
    return Written(folder, seeds=list(range(SEEDS)), **suite).scored(
        "base", [0.5] * SEEDS, method="none", stops=False
    )


def ticket(made, name="ticket", quality=0.9, *, method="partial_tuning", criterion="ks", **rest):
    qualities = quality if isinstance(quality, list) else [quality] * SEEDS
    return made.scored(
        name, qualities, method=method, ticket={"criterion": criterion, "k": 18}, **rest
    )


def diverging(made, **rest):
    """Two seeds that score as everything else does, three that came to nothing."""
    return ticket(made, quality=[0.9, 0.9], **rest).lost("ticket", [2, 3, 4])


def verdict(made, question, baseline="ticket", rule="first_line"):
    board = read_board(made.done(), made.name)
    (found,) = (
        one
        for one in board.verdicts
        if (one.question, one.baseline, one.rule) == (question, baseline, rule)
    )
    return found


def test_a_ticket_whose_seeds_diverged_is_not_said_to_replace_anything(tmp_path):
    made = diverging(start(tmp_path)).scored("lora", [0.9] * SEEDS, method="lora")
    found = verdict(made, "replaces")
    assert found.verdict == "inconclusive"
    assert found.text.startswith(f"ticket against lora is inconclusive: {MISSING};")
    assert MISSING in found.brief


def test_the_scores_that_are_told_are_those_of_the_difference(tmp_path):
    # The lost seeds are those on which the other row is poor: its mean over all five would mislead.
    made = diverging(start(tmp_path)).scored("lora", [0.95, 0.95, 0.6, 0.6, 0.6], method="lora")
    board = read_board(made.done(), made.name)
    scores = {
        row["baseline"]: row["scores"]["first_line"]["bleu"]["by_seed"]
        for row in board.rows
        if row["scores"]
    }
    (found,) = (
        one for one in board.verdicts if one.question == "replaces" and one.rule == "first_line"
    )
    one, two = ((scores[name]["0"] + scores[name]["1"]) / 2 for name in ("ticket", "lora"))
    assert (
        f"over seed 0, 1: {one:.1f} against {two:.1f}, difference {one - two:+.1f} " in found.text
    )
    assert found.comparisons[0]["paired_seeds"] == [0, 1]


@pytest.mark.parametrize("status", ["out_of_memory", "failed"])
def test_every_end_is_named(tmp_path, status):
    made = ticket(start(tmp_path), quality=[0.9] * 4).lost("ticket", [4], status=status)
    made.scored("lora", [0.9] * SEEDS, method="lora")
    ends = {"out_of_memory": "ran out of memory", "failed": "failed"}[status]
    assert f"4 of 5 seeds of ticket finished, the others {ends}" in verdict(made, "replaces").text


def test_a_ticket_is_not_better_than_a_control_whose_seeds_diverged_nor_the_reverse(tmp_path):
    made = ticket(start(tmp_path), quality=0.95)
    ticket(made, "chance", [0.5, 0.5], criterion="random").lost("chance", [2, 3, 4])
    found = verdict(made, "controls")
    assert found.verdict == "not_shown_better"
    assert "2 of 5 seeds of chance finished, the others diverged)" in found.text
    assert found.comparisons[0]["adjusted_p_value"] is None
    found = verdict(made, "chance", "chance")
    assert found.verdict == "inconclusive"
    assert "2 of 5 seeds of chance finished" in found.text
    made = diverging(start(tmp_path / "other"))
    ticket(made, "chance", 0.5, criterion="random")
    assert verdict(made, "controls").verdict == "not_shown_better"


def test_the_smallest_ticket_is_one_of_which_all_seeds_finished(tmp_path):
    made = diverging(start(tmp_path)).scored("embedding", [0.9] * SEEDS, method="embedding")
    found = verdict(made, "smallest", "embedding")
    assert found.verdict == "none"
    assert f"18: +0.0 [+0.0, +0.0], {MISSING}" in found.text


def test_a_certificate_is_not_confirmed_by_the_seeds_that_are_left(tmp_path):
    made = diverging(start(tmp_path), method="partial_transfer")
    made.scored("embedding", [0.9] * SEEDS, method="embedding")
    assert verdict(made, "certificate").verdict == "inconclusive"


def test_a_share_of_a_gain_tells_of_the_seeds_that_are_missing(tmp_path):
    found = verdict(diverging(start(tmp_path)), "termination", rule="raw")
    assert found.text.endswith(MISSING)


def test_a_transfer_with_missing_seeds_is_not_judged(tmp_path):
    made = Written(tmp_path, conditions={"one": {}, "two!": {}}, seeds=[0, 1, 2])
    for condition in ("one", "two!"):
        ticket(made, quality=[0.9] * 3, condition=condition)
    ticket(made, quality=[0.6] * 2, condition="one", scored_under="two!")
    made.lost("ticket", [2], condition="one", scored_under="two!")
    found = verdict(made, "transfer")
    assert found.verdict == "inconclusive"
    assert "2 of 3 seeds of ticket finished" in found.text


def test_rows_tuned_under_other_budgets_are_not_judged_against_each_other(tmp_path):
    made = ticket(start(tmp_path)).scored("full", [0.9] * SEEDS, train=LONG)
    found = verdict(made, "replaces")
    assert (found.verdict, found.comparisons) == ("not_comparable", ())
    assert found.text == f"ticket is not comparable with full: {BUDGET}"


def test_a_control_under_another_budget_is_named_and_not_judged(tmp_path):
    made = ticket(start(tmp_path))
    ticket(made, "chance", 0.5, criterion="random", train=LONG)
    found = verdict(made, "controls")
    assert (found.verdict, found.against) == ("not_comparable", ())
    assert f"not comparable with 18 tokens drawn by chance ({BUDGET})" in found.text


def test_the_smallest_ticket_is_one_that_is_comparable(tmp_path):
    made = ticket(start(tmp_path))
    made.scored("embedding", [0.9] * SEEDS, method="embedding", train=LONG)
    found = verdict(made, "smallest", "embedding")
    assert (found.verdict, found.comparisons) == ("none", ())
    assert f"18: not comparable, {BUDGET}" in found.text


def test_a_transfer_of_rows_has_no_budget_but_a_precision(tmp_path):
    made = ticket(start(tmp_path), method="partial_transfer")
    made.scored("embedding", [0.9] * SEEDS, method="embedding", train=LONG)
    assert verdict(made, "certificate").verdict == "non_inferior"
    made = ticket(start(tmp_path / "other"), method="partial_transfer")
    made.scored("embedding", [0.9] * SEEDS, method="embedding", train={"precision": "bf16"})
    found = verdict(made, "certificate")
    assert found.verdict == "not_comparable"
    assert "computed at another precision (fp32, not bf16)" in found.text


def test_a_base_at_another_precision_judges_neither_chance_nor_termination(tmp_path):
    made = Written(tmp_path, seeds=list(range(SEEDS)))
    made.scored("base", [0.5] * SEEDS, method="none", stops=False, train={"precision": "bf16"})
    ticket(made)
    ticket(made, "chance", criterion="random")
    why = "not comparable with base: computed at another precision (fp32, not bf16)"
    for found in (
        verdict(made, "chance", "chance"),
        verdict(made, "termination", rule="raw"),
    ):
        assert (found.verdict, found.brief, found.comparisons) == ("not_comparable", why, ())
        assert found.text == f"{found.baseline} is {why}"
