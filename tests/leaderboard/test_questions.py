"""Verdicts on stores whose truth is known."""

import pytest

from ksl_bench.leaderboard import read_board
from tests.boards import Written

SEEDS = 5


def ks(made, name, k, quality, method="partial_tuning", criterion="ks", **rest):
    qualities = quality if isinstance(quality, list) else [quality] * SEEDS
    return made.scored(
        name, qualities, method=method, ticket={"criterion": criterion, "k": k}, **rest
    )


def verdicts(made, question):
    board = read_board(made.done(), made.name)
    return [one for one in board.verdicts if one.question == question and one.rule == "first_line"]


def with_base(folder, quality=0.5, **suite):
    return Written(folder, seeds=list(range(SEEDS)), **suite).scored(
        "base", [quality] * SEEDS, method="none", stops=False
    )


def test_a_ticket_that_scores_the_same_text_is_non_inferior(tmp_path):
    made = with_base(tmp_path).scored("lora", [0.9] * SEEDS, method="lora")
    ks(made, "ticket", 18, 0.9)
    (found,) = verdicts(made, "replaces")
    assert found.verdict == "non_inferior"
    assert found.text.startswith("ticket is non-inferior to lora within 1 BLEU on the first line")
    assert found.comparisons[0]["value"] == 0


def test_a_ticket_far_below_is_worse_and_one_near_by_inconclusive(tmp_path):
    made = with_base(tmp_path).scored("full", [0.95] * SEEDS)
    ks(made, "far", 4, 0.6)
    ks(made, "near", 18, 0.94)
    found = {one.baseline: one for one in verdicts(made, "replaces")}
    assert found["far"].verdict == "worse"
    assert "is worse than full by more than 1 BLEU" in found["far"].text
    assert found["near"].verdict == "inconclusive"
    assert "neither non-inferior within 1 BLEU nor worse by more is shown" in found["near"].text


def test_the_margin_is_the_suites(tmp_path):
    made = with_base(tmp_path, verdicts={"margin": 20.0, "rule": "first_line"})
    made.scored("full", [0.95] * SEEDS)
    ks(made, "near", 18, 0.94)
    assert verdicts(made, "replaces")[0].verdict == "non_inferior"


def test_controls_are_those_of_the_same_size_and_words_say_what_they_are(tmp_path):
    made = with_base(tmp_path)
    ks(made, "ticket", 18, 0.9)
    ks(made, "frequent", 18, 0.9, criterion="frequency")
    ks(made, "chance", 18, 0.5, criterion="random")
    ks(made, "small", 4, 0.5, criterion="random")
    (found,) = verdicts(made, "controls")
    assert found.against == ("frequent", "chance")
    assert "not shown better than the 18 most frequent tokens (+0.0 [+0.0, +0.0])" in found.text
    assert "better than 18 tokens drawn by chance (" in found.text
    assert found.verdict == "not_shown_better"
    assert found.comparisons[0]["adjusted_p_value"] == 1
    assert found.comparisons[1]["adjusted_p_value"] < 0.05


def test_chance_that_gains_nothing_is_said_to_gain_nothing(tmp_path):
    made = with_base(tmp_path)
    ks(made, "same", 18, 0.5, criterion="random", stops=False)
    (found,) = verdicts(made, "chance")
    assert found.verdict in ("nothing", "not_shown_better")
    made = with_base(tmp_path / "other")
    ks(made, "learned", 18, 0.9, criterion="random")
    (found,) = verdicts(made, "chance")
    assert found.verdict == "better"
    assert "learned is better than the base" in found.text


def test_the_smallest_ticket_that_does_is_named(tmp_path):
    made = with_base(tmp_path).scored("embedding", [0.9] * SEEDS, method="embedding")
    ks(made, "four", 4, 0.6)
    ks(made, "eighteen", 18, 0.9)
    ks(made, "many", 64, 0.9)
    (found,) = verdicts(made, "smallest")
    assert found.verdict == "18"
    assert "the fewest that are non-inferior is 18 of 4, 18, 64 rows to embedding" in found.text


@pytest.mark.parametrize(
    ("qualities", "answer"),
    [
        ({4: 0.9, 18: 0.9, 64: 0.9}, "4"),
        ({4: 0.9, 18: 0.6, 64: 0.9}, "64"),  # 4 alone would pass, but it is no longer asked
        ({4: 0.9, 18: 0.9, 64: 0.6}, "none"),
    ],
)
def test_sizes_are_asked_from_the_largest_down_to_the_first_that_does_not_pass(
    tmp_path, qualities, answer
):
    made = with_base(tmp_path).scored("embedding", [0.9] * SEEDS, method="embedding")
    for k, quality in qualities.items():
        ks(made, f"ticket_{k}", k, quality)
    (found,) = verdicts(made, "smallest")
    assert found.verdict == answer
    assert found.text.startswith("from the most down, ")
    assert len(found.comparisons) == 3


def test_tickets_of_one_size_pass_together(tmp_path):
    made = with_base(tmp_path).scored("embedding", [0.9] * SEEDS, method="embedding")
    ks(made, "fast", 18, 0.9)
    ks(made, "slow", 18, 0.6)
    assert verdicts(made, "smallest")[0].verdict == "none"


def test_a_size_that_is_not_comparable_is_passed_over(tmp_path):
    made = with_base(tmp_path).scored("embedding", [0.9] * SEEDS, method="embedding")
    ks(made, "eighteen", 18, 0.9)
    ks(made, "many", 64, 0.6, train={"steps": 9000})
    assert verdicts(made, "smallest")[0].verdict == "18"


def test_none_is_named_where_none_is_shown(tmp_path):
    made = with_base(tmp_path).scored("embedding", [0.9] * SEEDS, method="embedding")
    ks(made, "four", 4, 0.6)
    (found,) = verdicts(made, "smallest")
    assert found.verdict == "none"


def test_the_claim_of_a_certificate_is_held_against_what_is_seen(tmp_path):
    made = with_base(tmp_path).scored("embedding", [0.9] * SEEDS, method="embedding")
    ks(made, "moved", 4, 0.6, method="partial_transfer")
    (found,) = verdicts(made, "certificate")
    assert found.verdict == "worse"
    assert found.text.startswith("the claim that 4 rows carry the tuned embedding is not seen")


def test_what_a_transfer_loses_is_said_with_its_interval(tmp_path):
    made = Written(tmp_path, conditions={"one": {}, "two!": {}}, seeds=[0, 1, 2])
    for condition in ("one", "two!"):
        made.scored("base", [0.5] * 3, method="none", condition=condition)
        ks(made, "ticket", 18, [0.9] * 3, condition=condition)
    ks(made, "ticket", 18, [0.6] * 3, condition="one", scored_under="two!")
    (found,) = verdicts(made, "transfer")
    assert (found.condition, found.verdict) == ("two!", "loses")
    assert found.text.startswith(
        "ticket tuned under one and scored under two! loses against tuning here"
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_seed_is_said_to_speak_of_these_trained_models_only(tmp_path, seeds):
    made = Written(tmp_path).scored("base", [0.5] * seeds, method="none", stops=False)
    ks(made, "ticket", 18, [0.9] * seeds).scored("lora", [0.9, 0.91, 0.92][:seeds], method="lora")
    (found,) = verdicts(made, "replaces")
    assert ("of these trained models only" in found.text) is (seeds == 1)


def test_termination_is_named_only_where_there_is_a_raw_gain(tmp_path):
    made = with_base(tmp_path, quality=0.9).scored("lora", [0.9] * SEEDS, method="lora")
    made.scored("full", [0.9] * SEEDS, stops=False)
    board = read_board(made.done(), made.name)
    found = [one for one in board.verdicts if one.question == "termination"]
    assert [one.baseline for one in found] == ["lora"]
    assert "of what lora gains on the raw output is learning to stop" in found[0].text


def test_an_interval_that_excludes_0_but_not_after_correction_says_so(tmp_path):
    made = with_base(tmp_path)
    ks(made, "ticket", 18, [0.80, 0.82, 0.81, 0.83, 0.80])
    ks(made, "turned", 18, [0.75, 0.76, 0.77, 0.75, 0.76], criterion="cosine")
    for criterion in ("l2", "gradient", "frequency", "random", "template"):
        ks(made, criterion, 18, [0.81, 0.80, 0.82, 0.80, 0.83], criterion=criterion)
    (found,) = (one for one in verdicts(made, "controls") if one.baseline == "ticket")
    turned = found.comparisons[list(found.against).index("turned")]
    assert turned["low"] > 0
    assert turned["p_value"] < 0.05 <= turned["adjusted_p_value"]
    told = f"p = {turned['adjusted_p_value']:.2f} corrected for all controls"
    assert f"the 18 rows that turned most (+{turned['value']:.1f} " in found.text
    assert found.text.count(told) == 1
    assert found.text.count("corrected for all controls") == 1
