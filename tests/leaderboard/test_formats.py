"""The same numbers in every format, rounded only where people read."""

import csv
import io
import json
import re

import pytest
from rich.console import Console

from ksl_bench.leaderboard import (
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_tables,
    human_bytes,
    read_board,
    told_verdicts,
)
from ksl_bench.leaderboard.tables import human_count, sections
from ksl_bench.store import key_of
from tests.boards import Written


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    made = Written(tmp_path_factory.mktemp("store"), name="mi_ne")
    made.scored("base", [0.9, 0.9], method="none", stops=False)
    made.scored("full", [0.99, 0.98])
    made.scored("good", [0.95, 0.96], method="partial_tuning", ticket={"criterion": "ks", "k": 18})
    made.recipe("broken", "lora")
    state = key_of({"state": 1})
    made.store.fail("state", state, "diverged", "the loss is nan")
    made.row("broken", 0, key_of({"evaluation": 1}), state=state)
    return read_board(made.done(), "mi_ne")


def test_json_is_the_rows_unrounded(board):
    assert json.loads(as_json(board)) == json.loads(json.dumps(board.rows))


def test_csv_holds_the_same_unrounded_numbers(board):
    lines = list(csv.DictReader(io.StringIO(as_csv(board))))
    for row, line in zip(board.rows, lines, strict=True):
        assert line["status"] == row["status"]
        for rule, metrics in (row["scores"] or {}).items():
            for metric, score in metrics.items():
                for part in ("value", "low", "high"):
                    assert float(line[f"scores.{rule}.{metric}.{part}"]) == score[part]
    good = board.rows[2]
    assert float(lines[2]["gains.raw.bleu.p_value"]) == good["gains"]["raw"]["bleu"]["p_value"]
    assert float(lines[2]["cost.train_seconds"]) == good["cost"]["train_seconds"]
    assert (lines[2]["ranking.best"], lines[2]["ranking.of"]) == (str(good["ranking"]["best"]), "3")


def test_csv_has_the_verdicts_in_brief(board):
    lines = list(csv.DictReader(io.StringIO(as_csv(board))))
    for row, line in zip(board.rows, lines, strict=True):
        for one in row["verdicts"]:
            assert f"{one['question']}, {one['rule']}: {one['brief']}" in line["verdicts"]
    assert "inconclusive against full" in lines[2]["verdicts"]


def test_latex_holds_every_number_that_it_shows_unrounded(board):
    """Each comment is the row as JSON has it, and the cells before it are that row, rounded."""
    text = as_latex(board)
    told = re.findall(r"^ *(.*) \\\\\n *% (\{.*\})$", text, flags=re.M)
    in_json = json.loads(as_json(board))
    assert len(told) == len(in_json) == 4
    for (cells, comment), row in zip(told, in_json, strict=True):
        exact = json.loads(comment)
        assert exact == {name: row[name] for name in exact}
        assert row.keys() - exact.keys() == {"verdicts", "by_group"}
        shown = [one.replace(r"$\pm$", "±").replace("\\", "") for one in cells.split(" & ")]
        if row["scores"] is None:
            assert shown == ["broken", "diverged", *[""] * (len(shown) - 2)]
            continue
        raw, first = (exact["scores"][rule]["bleu"] for rule in ("raw", "first_line"))
        ranking, cost = exact["ranking"], exact["cost"]
        gained = [
            (exact["gains"] or {}).get(rule, {}).get("bleu") for rule in ("raw", "first_line")
        ]
        share = exact["termination_share"]
        assert shown[2:] == [
            *(f"{one['value']:.1f}±{(one['high'] - one['low']) / 2:.1f}" for one in (raw, first)),
            *("" if one is None else f"{one['value']:.1f}" for one in gained),
            "-".join(dict.fromkeys((str(ranking["best"]), str(ranking["worst"])))),
            "" if share is None else f"{100 * share:.0f}",
            f"{100 * exact['eos_rate']:.0f}",
            f"{cost['selection_seconds'] + cost['train_seconds']:.0f}",
            f"{cost['peak_memory_bytes'] / 2**20:.0f}",
        ]
        assert float(shown[1].removesuffix("k")) == pytest.approx(
            exact["trainable_parameters"] / (1000 if "k" in shown[1] else 1), rel=1e-2
        )
    assert r"mi\_ne" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_the_table_fits_eighty_columns_and_shows_every_row(board):
    console = Console(width=80, record=True, file=io.StringIO())
    for table in as_tables(board, width=80):
        console.print(table)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for word in ("good", "full", "broken", "diverged", "2.3k"):
        assert word in text
    score = board.rows[1]["scores"]["raw"]["bleu"]
    assert f"{score['value']:.1f}±{(score['high'] - score['low']) / 2:.1f}" in text


def test_markdown_shows_intervals_verdicts_and_reasons(board):
    text = as_markdown(board)
    score = board.rows[2]["scores"]["raw"]["bleu"]
    assert (
        f"| good | 2.3k | {score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}] |" in text
    )
    assert "- broken: diverged: the loss is nan" in text
    for _, verdicts in told_verdicts(board):
        assert all(f"- {one.text}." in text for one in verdicts)
    assert "**Verdicts (on the first line, margin 1 BLEU)**" in text


def test_verdicts_are_told_for_the_suites_rule_and_for_every_rule_where_asked(board):
    ((_, few),) = told_verdicts(board)
    ((_, many),) = told_verdicts(board, every=True)
    assert {one.rule for one in few if one.question == "replaces"} == {"first_line"}
    assert {one.rule for one in many if one.question == "replaces"} == {"first_line", "raw"}


def test_conditions_probes_and_transfers_each_have_a_table(tmp_path):
    made = Written(tmp_path, conditions={"one": {}, "two!": {}})
    made.scored("base", [0.5], method="none", condition="one")
    made.scored("ks", [0.9], condition="one").scored("ks", [0.9], condition="two!")
    made.scored("only", [0.7], condition="one", probe={"of": "ks"})
    made.scored("ks", [0.6], condition="one", scored_under="two!")
    board = read_board(made.done(), made.name)
    found = [(one.title, len(one.lines)) for one in sections(board.rows)]
    assert found == [(", one", 2), (", one, probes", 1), (", two!", 1), (", transfer", 1)]


@pytest.mark.parametrize(
    ("count", "said"), [(12, "12 B"), (2048, "2 KiB"), (3 * 2**20, "3 MiB"), (5 * 2**30, "5.0 GiB")]
)
def test_sizes_are_in_binary_units(count, said):
    assert human_bytes(count) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (2304, "2.3k"), (999_400, "999k"), (999_600, "1M"), (6.74e9, "6.74B")],
)
def test_counts_of_parameters_are_short(count, said):
    assert human_count(count) == said
