"""Forgetting and backward transfer against their definitions, worked out by hand on written boards."""

import json
from statistics import mean

import numpy as np
import pytest

from ksl_bench.leaderboard import as_csv, as_json, as_latex, as_markdown, as_tables, read_board
from ksl_bench.leaderboard.board import read_conditions
from ksl_bench.leaderboard.sequence import measures_of
from ksl_bench.report import as_html
from ksl_bench.significance.resampling import Draw, System
from tests.boards import Written

TASKS = ["one", "two!", "three"]
STEPS = ["one", "one+two!", "one+two!+three"]
QUALITIES = {
    # by step, then task; `full` learns each task and loses the one before, `keeps` loses little
    "full": [[0.9, 0.2, 0.3], [0.5, 0.9, 0.4], [0.4, 0.6, 0.9]],
    "keeps": [[0.9, 0.3, 0.3], [0.88, 0.9, 0.4], [0.87, 0.89, 0.9]],
}
SEEDS = [0, 1, 2]


def board_of(
    tmp_path, *, missing=None, seeds=SEEDS, merge=True, train=None, lost=(), qualities=QUALITIES
):
    made = Written(
        tmp_path, conditions={task: {"prompt": "explicit"} for task in TASKS}, sequence=TASKS
    )
    for task in TASKS:
        made.scored("base", [0.1] * len(seeds), method="none", condition=task)
    for name, matrix in qualities.items():
        method = "full" if name == "full" else "lora"
        for step, line in zip(STEPS, matrix, strict=True):
            for task, quality in zip(TASKS, line, strict=True):
                if (name, step, task) != missing:
                    made.scored(
                        name, [quality - 0.01 * seed for seed in seeds], method=method,
                        condition=step, scored_under=task, train=(train or {}).get(name),
                    )  # fmt: skip
                    if name in lost:
                        made.lost(name, [len(seeds)], condition=step, scored_under=task)
        for task in TASKS[1:]:
            made.scored(
                name, [0.95] * len(seeds), method=method, condition=task,
                train=(train or {}).get(name),
            )  # fmt: skip
    if merge:
        recipe = {"of": "full", "rule": "ties", "weight": 1.0, "density": 0.2}
        for task in TASKS:
            made.scored("merged", [0.7] * len(seeds), condition=STEPS[2], scored_under=task)
        made.baselines["merged"]["merge"] = recipe
    return read_board(made.done(), made.name), made


def cells(board, name, seed):
    return [
        [
            next(
                row["scores"]["first_line"]["bleu"]["by_seed"][str(seed)]
                for row in board.rows
                if (row["baseline"], row["condition"], row["scored_under"]) == (name, step, task)
            )
            for task in TASKS
        ]
        for step in STEPS
    ]


def last(board, name):
    rows = [one for one in board.rows if one["baseline"] == name and one["condition"] == STEPS[2]]
    assert len({json.dumps(one["sequence"]) for one in rows}) == 1
    return rows[0]["sequence"]


@pytest.mark.parametrize("name", QUALITIES)
def test_forgetting_is_chaudhrys_and_backward_transfer_is_lopez_paz_and_ranzatos(tmp_path, name):
    board, _ = board_of(tmp_path)
    forgotten, backward, average = [], [], []
    for seed in SEEDS:
        R = cells(board, name, seed)
        T = len(TASKS)
        forgotten.append(
            mean(max(R[t][i] for t in range(T - 1)) - R[T - 1][i] for i in range(T - 1))
        )
        backward.append(mean(R[T - 1][i] - R[i][i] for i in range(T - 1)))
        average.append(mean(R[T - 1]))
    found = last(board, name)
    assert found["forgetting"]["first_line"]["value"] == pytest.approx(mean(forgotten))
    assert found["backward_transfer"]["first_line"]["value"] == pytest.approx(mean(backward))
    assert found["mean"]["first_line"]["value"] == pytest.approx(mean(average))
    for one in ("forgetting", "backward_transfer", "mean"):
        number = found[one]["first_line"]
        assert number["low"] < number["value"] < number["high"]
        assert number["speaks_of"] == "seeds and sentences"


def test_what_was_better_before_its_own_step_counts_as_forgotten():
    """The maximum is over all earlier steps, seed by seed; backward transfer is from its own step alone."""
    by_seed = np.array(
        [
            [[50, 90, 30], [40, 60, 40], [30, 50, 90]],  # R[1, 2] > R[2, 2]
            [[50, 50, 30], [40, 80, 40], [30, 50, 90]],
        ],
        dtype=float,
    )
    draw = Draw(resamples=100, groups=50, unit="sentences", digest="0")
    cells = {
        (step, "early", task): {
            ("raw", "bleu"): System(
                (0, 1), by_seed[:, t, i], np.tile(by_seed[:, t, i], (100, 1)), draw
            )
        }
        for t, step in enumerate(STEPS)
        for i, task in enumerate(TASKS)
    }
    where = {"step": 3, "of": 3, "tasks": TASKS, "merged": False}
    found = measures_of("early", ("raw", "bleu"), cells, where, "early")
    # seed 0: ((50 - 30) + (90 - 50)) / 2; seed 1: ((50 - 30) + (80 - 50)) / 2
    assert found["forgetting"].scores_R.tolist() == [30, 25]
    # seed 0: ((30 - 50) + (50 - 60)) / 2; seed 1: ((30 - 50) + (50 - 80)) / 2
    assert found["backward_transfer"].scores_R.tolist() == [-15, -25]
    assert found["forgetting"].resampled_BR.tolist() == [[30, 25]] * 100


def test_a_row_shows_what_ran_at_its_own_step_and_alone_as_at_the_first(tmp_path):
    made = Written(tmp_path, conditions={task: {} for task in TASKS}, sequence=TASKS)
    places = [*((step, task) for step in STEPS for task in TASKS), ("two!", "two!")]
    for condition, under in places:
        made.scored(
            "lota", [0.9], method="lota", ticket={"criterion": "magnitude", "sparsity": 0.9},
            train={"steps": None, "epochs": 2.0}, condition=condition, scored_under=under,
        )  # fmt: skip
    whole = made.baselines["lota"]
    tickets = [
        {**whole["ticket"], "criterion": "ks", "k": 4, "sparsity": None},
        None,
        whole["ticket"],
    ]
    lengths = [{"steps": 5}, {"steps": 500}, {"steps": None, "epochs": 2.0}]
    whole["by_step"] = [
        {
            "hyperparameters": {},
            "ticket": ticket,
            "train": {**whole["train"], "epochs": None, **length},
        }
        for ticket, length in zip(tickets, lengths, strict=True)
    ]
    store = made.done()
    ran = {
        place: (row["criterion"], row["k"], row["sparsity"], dict(terms)["budget"])
        for one in read_conditions(store, store.plans.read(made.name))
        for place, row, terms in zip(one.places, one.rows, one.terms, strict=True)
    }
    batch = "of 16 examples"
    wanted = {
        "one": ("ks", 4, None, f"5 steps {batch}"),
        "one+two!": (None, None, None, f"500 steps {batch}"),
        "one+two!+three": ("magnitude", None, 0.9, f"2 epochs {batch}"),
        "two!": ("ks", 4, None, f"5 steps {batch}"),
    }
    assert ran == {(step, "lota", under): wanted[step] for step, under in places}


def test_over_alone_compares_with_the_states_of_each_task(tmp_path):
    board, _ = board_of(tmp_path)
    alone = {
        row["scored_under"]: row["scores"]["first_line"]["bleu"]["value"]
        for row in board.rows
        if row["baseline"] == "full" and row["condition"] == row["scored_under"]
    }
    for name in ("full", "merged"):
        found = last(board, name)
        wanted = found["mean"]["first_line"]["value"] - mean(alone.values())
        assert found["over_alone"]["first_line"]["value"] == pytest.approx(wanted)
    assert last(board, "merged")["forgetting"] is None


def test_verdicts_say_who_forgets_less_and_are_corrected_over_all_comparisons(tmp_path):
    board, _ = board_of(tmp_path)
    said = {(one.question, one.baseline): one for one in board.verdicts}
    assert said["forgetting", "keeps"].verdict == "forgets_less"
    assert "keeps forgets less than full on the first line" in said["forgetting", "keeps"].text
    assert said["sequence", "keeps"].verdict == "ends_better"
    for (question, _), one in said.items():
        if question in ("forgetting", "sequence"):
            (number,) = one.comparisons
            assert (number["adjusted_p_value"] < 0.05) == (one.verdict != "not_shown")
            assert one.against == ("full",)
    (row,) = (
        one
        for one in board.rows
        if (one["baseline"], one["condition"], one["scored_under"]) == ("keeps", STEPS[2], "three")
    )
    assert {one["question"] for one in row["verdicts"]} == {"forgetting", "sequence"}
    assert ("transfer", "keeps") not in said


def said_of(board, baseline):
    return {
        one.question: one
        for one in board.verdicts
        if one.baseline == baseline and one.question in ("forgetting", "sequence")
    }


def test_rows_tuned_otherwise_are_not_judged_in_a_sequence(tmp_path):
    board, _ = board_of(
        tmp_path, merge=False, train={"keeps": {"steps": 5000, "precision": "bf16"}}
    )
    found = said_of(board, "keeps")
    assert found.keys() == {"forgetting", "sequence"}
    for one in found.values():
        assert (one.verdict, one.comparisons) == ("not_comparable", ())
        assert one.text == (
            "keeps is not comparable with full: tuned under another budget (5000 steps of 16 "
            "examples, not 120 steps of 16 examples); computed at another precision (bf16, not fp32)"
        )


@pytest.mark.parametrize("name", QUALITIES)
def test_a_sequence_whose_seeds_diverged_is_never_better_nor_worse(tmp_path, name):
    board, _ = board_of(tmp_path, merge=False, lost=[name])
    for one in said_of(board, "keeps").values():
        assert one.verdict == "not_shown"
        assert f"3 of 4 seeds of {name} finished, the others diverged" in one.text
        assert one.comparisons[0]["adjusted_p_value"] is None


def test_a_disjoint_ticket_is_held_against_its_twin_alone(tmp_path):
    made = Written(tmp_path, conditions={task: {} for task in TASKS[:2]}, sequence=TASKS[:2])
    matrix = [[0.9, 0.3], [0.5, 0.9]]
    for name, kind, k in (("a", "disjoint", 18), ("b", "shared", 18), ("c", "shared", 4)):
        ticket = {"criterion": "ks", "k": k, "in_sequence": kind}
        kept = 0.3 if kind == "disjoint" else 0.0
        for step, (condition, line) in enumerate(zip(STEPS[:2], matrix, strict=True)):
            for task, quality in zip(TASKS[:2], line, strict=True):
                better = kept if step and task == "one" else 0.0
                made.scored(
                    name, [quality + better - 0.01 * seed for seed in SEEDS], ticket=ticket,
                    method="partial_tuning", condition=condition, scored_under=task,
                    trainable=128 * k,
                )  # fmt: skip
    board = read_board(made.done(), made.name)
    said = [one for one in board.verdicts if one.question == "disjoint"]
    assert [(one.baseline, one.against, one.verdict) for one in said] == [
        ("a", ("b",), "forgets_less")
    ]


def test_one_seed_speaks_of_these_models_only_and_equal_rows_are_not_told_apart(tmp_path):
    equal = {"full": QUALITIES["full"], "same": QUALITIES["full"]}
    board, _ = board_of(tmp_path, seeds=[0], merge=False, qualities=equal)
    found = said_of(board, "same")
    assert found.keys() == {"forgetting", "sequence"}
    for one in found.values():
        assert one.text.endswith("one seed, so of these trained models only")
        (number,) = one.comparisons
        assert (one.verdict, number["value"], number["adjusted_p_value"]) == ("not_shown", 0, 1)


def test_without_a_cell_there_is_no_measure_but_the_table_stands(tmp_path):
    board, _ = board_of(tmp_path, missing=("keeps", STEPS[1], "one"))
    assert last(board, "keeps")["forgetting"] is None
    assert last(board, "keeps")["mean"] is not None
    assert last(board, "full")["forgetting"] is not None
    assert "| keeps | 2 two! |  |" in as_markdown(board)


def test_the_sequence_stands_in_every_format(tmp_path):
    board, made = board_of(tmp_path)
    assert "sequence" in as_markdown(board)
    assert "| full | 1 one |" in as_markdown(board)
    assert "| merged | merged |" in as_markdown(board)
    assert any("sequence" in str(one.title) for one in as_tables(board, width=120))
    assert "sequence.forgetting.first_line.value" in as_csv(board).splitlines()[0]
    rows = json.loads(as_json(board))
    assert any(row["sequence"] and row["sequence"]["step"] == 2 for row in rows)
    assert r"\label" not in as_latex(board)
    page = as_html(board, made.store)
    assert "backward transfer" in page


def test_a_failed_step_blames_the_step_that_failed(tmp_path):
    made = Written(tmp_path, conditions={task: {} for task in TASKS[:2]}, sequence=TASKS[:2])
    made.scored("full", [0.9], condition="one")
    made.store.fail("state", "a" * 20, "diverged", "loss 99")
    made.row("full", 0, "b" * 20, condition="one+two!", scored_under="two!", state="c" * 20)
    made.rows[-1]["earlier"] = [["state", "a" * 20, "step one"]]
    board = read_board(made.done(), made.name)
    (row,) = (one for one in board.rows if one["condition"] == "one+two!")
    assert (row["status"], row["reason"]) == ("skipped", "step one is diverged: loss 99")
