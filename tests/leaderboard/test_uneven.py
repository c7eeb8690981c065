"""Buckets of directions by hand, their means on draws of known scores, and what is said of gains."""

from dataclasses import replace

import numpy as np
import pytest

from ksl_bench.config import VerdictSpec
from ksl_bench.leaderboard.direction_tables import direction_sections
from ksl_bench.leaderboard.directions import (
    add_directions,
    bucket_gains,
    bucket_of,
    buckets_of,
    direction_gains,
)
from ksl_bench.leaderboard.uneven import judge_directions
from ksl_bench.leaderboard.verdicts import Compared
from ksl_bench.significance.resampling import Draw, System

TUNED_ON = ["eng-cat", "cat-eng", "eng-deu"]
DIRECTIONS = [
    "eng-cat",
    "cat-eng",
    "eng-deu",
    "cat-deu",
    "deu-cat",
    "eng-dan",
    "dan-deu",
    "deu-dan",
]
SPEC = {"name": "directions", "directions": DIRECTIONS, "tuned_on": TUNED_ON}
DRAWS = 400


@pytest.mark.parametrize(
    ("direction", "bucket"),
    [
        ("eng-cat", "supervised"),
        ("cat-deu", "zero_shot_pair"),
        ("deu-eng", "zero_shot_source"),  # German was a target only
        ("eng-dan", "zero_shot_target"),
        ("dan-cat", "zero_shot_source"),
        ("deu-dan", "zero_shot_both"),
    ],
)
def test_a_direction_by_what_was_tuned_on(direction, bucket):
    assert bucket_of(direction, TUNED_ON) == bucket


def test_every_direction_is_in_two_buckets_and_empty_ones_are_left_out():
    found = buckets_of(["eng-cat", "cat-deu", "zho_Hant-eng"], ["eng-cat"])
    assert found == {
        "supervised": ["eng-cat"],
        "zero_shot_both": ["cat-deu", "zho_Hant-eng"],
        "english_centric": ["eng-cat", "zho_Hant-eng"],
        "not_english_centric": ["cat-deu"],
    }


def groups(scores, seed):
    """Return systems of given scores whose resamples spread by 0.5 around them."""
    draw = np.random.default_rng(seed)
    kept = Draw(resamples=DRAWS, groups=100, unit="documents", digest="0")
    return {
        ("direction", name, rule, "bleu"): System(
            (), np.array([value]), (value + draw.normal(0, 0.5, DRAWS))[:, None], kept
        )
        for rule in ("raw", "first_line")
        for name, value in zip(DIRECTIONS, scores, strict=True)
    }


def row(name, method, own):
    score = {"value": 0.0, "low": 0.0, "high": 0.0}
    return {
        "baseline": name,
        "method": method,
        "task": "directions",
        "probe": None,
        "condition": "default",
        "scored_under": "default",
        "status": "finished",
        "seeds": [0],
        "finished_seeds": [0],
        "unfinished_seeds": {},
        "scores": {rule: {"bleu": score} for rule in ("raw", "first_line")},
        "gains": None,
        "no_gains": None,
    }


TERMS = (
    ("budget", "120 steps"),
    ("search", "none"),
    ("precision", "fp32"),
    ("text", "t"),
    ("signature", "s"),
)
OF_BASE = tuple((name, "" if name in ("budget", "search") else one) for name, one in TERMS)


def board_of(rows, *, terms=TERMS, base=OF_BASE):
    return Compared("default", rows, [{}] * len(rows), [base, terms], VerdictSpec())


@pytest.fixture
def made():
    base = groups([50.0] * 8, 1)
    lora = groups([60, 61, 62, 50, 50, 50, 50, 40], 2)
    rows = [row("base", "none", base), row("lora", "lora", lora)]
    add_directions(rows, [base, lora], "default", lambda _: SPEC)
    return rows, [base, lora]


def test_a_bucket_scores_the_mean_of_its_directions_on_every_draw(made):
    rows, (_, lora) = made
    bucket = rows[1]["directions"]["buckets"]["supervised"]
    assert bucket["directions"] == TUNED_ON
    number = bucket["scores"]["raw"]["bleu"]
    assert number["value"] == pytest.approx(61.0)
    names = [("direction", one, "raw", "bleu") for one in TUNED_ON]
    spread = np.mean([lora[one].resampled_BR for one in names], axis=0).std(ddof=1)
    assert number["standard_error"] == pytest.approx(spread, rel=0.05)
    gain = bucket["gains"]["raw"]["bleu"]
    assert gain["value"] == pytest.approx(11.0)
    assert gain["low"] > 10
    assert rows[0]["directions"]["buckets"]["supervised"]["gains"] is None
    assert rows[0]["directions"]["gains"] is None


def test_groups_of_one_draw_are_compared_whoever_told_their_size_and_their_mean_is_as_sure_as_the_fewest():
    made = groups([50.0] * 8, 1), groups([60.0] * 8, 2)
    sizes = [dict(zip(DIRECTIONS, range(first, first + 8), strict=True)) for first in (10, 20)]
    base, own = (
        {
            name: replace(one, draw=replace(one.draw, groups=size[name[1]]))
            for name, one in some.items()
        }
        for some, size in zip(made, sizes, strict=True)
    )
    found = direction_gains(own, base, rule="raw", metric="bleu").found
    assert [one.interval.degrees_of_freedom for one in found] == list(range(19, 27))
    (mean,) = bucket_gains(own, base, {"all": DIRECTIONS}, rule="raw", metric="bleu").found
    assert mean.interval.degrees_of_freedom == 19


def test_a_row_that_is_not_comparable_with_the_base_gains_on_no_direction():
    own = [groups([50.0] * 8, 1), groups([60.0] * 8, 2)]
    rows = [row("base", "none", own[0]), row("lora", "lora", own[1]) | {"no_gains": "bf16"}]
    add_directions(rows, own, "default", lambda _: SPEC)
    assert rows[1]["directions"]["gains"] is None
    assert all(one["gains"] is None for one in rows[1]["directions"]["buckets"].values())


def test_another_task_has_no_directions():
    rows = [row("base", "none", {})]
    add_directions(rows, [{}], "default", lambda _: {"name": "translation"})
    assert rows[0]["directions"] is None
    assert list(direction_sections(rows)) == []


def test_what_was_tuned_elsewhere_is_in_the_buckets_of_what_it_was_tuned_on():
    """Scored under `here`: tuned there, moved there from another condition, and after two steps."""
    specs = {
        "here": SPEC,
        "there": SPEC | {"tuned_on": ["deu-dan"]},
        "pair": {"name": "translation", "source_language": "dan", "target_language": "deu"},
    }
    moved = row("moved", "full", {}) | {"condition": "there"}
    steps = row("steps", "full", {}) | {
        "condition": "there+pair+here",
        "sequence": {"tasks": ["there", "pair", "here"], "step": 2, "of": 3},
    }
    rows = [row("base", "none", {}) | {"condition": "here"}, moved, steps]
    add_directions(rows, [groups([50.0] * 8, seed) for seed in range(3)], "here", specs.__getitem__)
    found = [one["directions"] for one in rows]
    assert [one["tuned_on"] for one in found] == [TUNED_ON, ["deu-dan"], ["deu-dan", "dan-deu"]]
    supervised = [one["buckets"]["supervised"]["directions"] for one in found]
    assert supervised == [TUNED_ON, ["deu-dan"], ["dan-deu", "deu-dan"]]
    assert found[1]["buckets"]["zero_shot_target"]["directions"] == ["deu-cat"]
    assert found[1]["gains"] is not None


def test_an_uneven_gain_names_what_is_lost(made):
    rows, systems = made
    found = judge_directions(board_of(rows), systems)
    assert [one.rule for one in found] == ["first_line", "raw"]
    first = found[0]
    assert (first.baseline, first.verdict, first.against) == ("lora", "uneven", ("base",))
    assert first.text.startswith("lora gains on 3 of 8 directions, loses on 1 (deu-dan: -10.0 [")
    assert "neither is shown on 4" in first.text
    assert "by bucket: a gain on supervised directions: +11.0 [" in first.text
    assert len(first.comparisons) == 8
    assert {one["direction"] for one in first.comparisons} == set(DIRECTIONS)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([60] * 8, "everywhere"),
        ([60] + [50] * 7, "partly"),
        ([50] * 8, "nowhere"),
        ([40] + [50] * 7, "loses"),
    ],
)
def test_what_is_not_shown_is_not_said(scores, verdict):
    base, own = groups([50.0] * 8, 1), groups(scores, 3)
    rows = [row("base", "none", base), row("full", "full", own)]
    add_directions(rows, [base, own], "default", lambda _: SPEC)
    found = judge_directions(board_of(rows), [base, own])
    assert found[0].verdict == verdict


@pytest.fixture
def better_everywhere():
    base, own = groups([50.0] * 8, 1), groups([60] * 8, 3)
    rows = [row("base", "none", base), row("full", "full", own)]
    add_directions(rows, [base, own], "default", lambda _: SPEC)
    return rows, [base, own]


def test_a_row_of_another_precision_than_the_base_is_not_judged(better_everywhere):
    rows, systems = better_everywhere
    other = tuple((name, "bf16" if name == "precision" else one) for name, one in TERMS)
    found = judge_directions(board_of(rows, terms=other), systems)
    assert [(one.verdict, one.comparisons) for one in found] == [("not_comparable", ())] * 2
    assert found[0].text == (
        "full is not comparable with base: computed at another precision (bf16, not fp32)"
    )


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_or_base_with_diverged_seeds_gains_nowhere_for_sure(better_everywhere, place):
    rows, systems = better_everywhere
    rows[place] |= {"seeds": [0, 1], "unfinished_seeds": {"1": "diverged"}}
    found = judge_directions(board_of(rows), systems)
    assert [(one.verdict, one.comparisons) for one in found] == [("inconclusive", ())] * 2
    assert found[0].text == (
        f"full is inconclusive against base: 1 of 2 seeds of {rows[place]['baseline']} finished, "
        "the others diverged"
    )


def test_the_base_is_the_model_that_is_asked_as_all_others_are(better_everywhere):
    """A detector is of method none, too, and no row gains over it."""
    rows, systems = better_everywhere
    detector = row("detector", "none", systems[0]) | {"statistic": "entropy"}
    worst = groups([0.0] * 8, 4)
    rows, systems = [detector, *rows], [worst, *systems]
    add_directions(rows, systems, "default", lambda _: SPEC)
    assert rows[2]["directions"]["gains"]["raw"]["eng-cat"]["value"] == pytest.approx(10.0)
    board = Compared("default", rows, [{}] * 3, [OF_BASE, OF_BASE, TERMS], VerdictSpec())
    assert {one.against for one in judge_directions(board, systems)} == {("base",)}


def test_tables_stand_beside_each_other(made):
    rows, _ = made
    first, second = direction_sections(rows)
    assert first.columns[:3] == ("baseline", "all", "supervised")
    assert first.lines[1].cells("half_width")[2].startswith("61.0±")
    assert [line.row["baseline"] for line in second.lines] == ["lora"]
    assert second.lines[0].cells("half_width")[2].startswith("+11.0±")
