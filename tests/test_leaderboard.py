"""The leaderboard over a store written by hand: means, blame, formats."""

import csv
import io
import json

import pytest
from rich.console import Console

from ksl_bench.errors import StorageError
from ksl_bench.leaderboard import (
    as_csv,
    as_json,
    as_markdown,
    as_table,
    human_bytes,
    read_leaderboard,
    reasons,
)
from ksl_bench.store import Store, key_of


def key(name):
    return key_of({"name": name})


def score(value):
    return {"value": value, "low": value - 2, "high": value + 1, "signature": "nrefs:1"}


def result(seed, raw, line):
    return {
        "seed": seed,
        "sentences": 200,
        "truncated_training_examples": 0,
        "parameters": {"trainable": 2304, "total": 10**6},
        "scores": {
            rule: {"bleu": score(value), "chrf": score(value)}
            for rule, value in (("raw", raw), ("first_line", line), ("prompt_restart", line))
        },
        "diagnostics": {"eos_rate": 0.5, "length_ratio": {"raw": 2.0, "first_line": 1.0}},
        "cost": {
            "selection_seconds": 8.0,
            "train_seconds": 7.0,
            "evaluate_seconds": 1.0,
            "device_hours": 0.01,
            "money": None,
            "state_bytes": 9000,
            "train_peak_memory": [{"allocated": 5 * 2**20, "reserved": None}],
            "evaluate_peak_memory": [{"allocated": 3 * 2**20, "reserved": None}],
        },
    }


@pytest.fixture
def store(tmp_path):
    """Two seeds of a ticket that worked, a LoRA that diverged, a ticket whose source failed."""
    store = Store(str(tmp_path))
    for seed, raw, line in ((0, 80.0, 90.0), (1, 84.0, 92.0)):
        store.finish("evaluation", key(f"good {seed}"), result(seed, raw, line))
    store.fail("state", key("lora state"), "diverged", "the loss is nan")
    store.fail("state", key("embedding state"), "out_of_memory", "too big")

    def row(baseline, seed, evaluation, **rest):
        empty = {"state": None, "ticket": None, "source_state": None}
        return {"baseline": baseline, "seed": seed, "evaluation": key(evaluation), **empty, **rest}

    ticket = {"criterion": "ks", "k": 18, "alpha": None, "from": "embedding"}
    plan = {
        "suite": {
            "baselines": [
                {"name": "good", "method": "partial_tuning", "ticket": ticket},
                {"name": "lora", "method": "lora", "ticket": None},
                {"name": "late", "method": "partial_tuning", "ticket": ticket},
                {"name": "open", "method": "full", "ticket": None},
            ]
        },
        "rows": [
            row("good", 0, "good 0"),
            row("good", 1, "good 1"),
            row("lora", 0, "lora evaluation", state=key("lora state")),
            row("late", 0, "late evaluation", source_state=key("embedding state")),
            row("open", 0, "open evaluation", state=key("open state")),
        ],
    }
    store.write_plan("mine", plan)
    return store


@pytest.fixture
def rows(store):
    return read_leaderboard(store, "mine")


def test_scores_are_means_over_seeds_and_each_seed_is_kept(rows):
    good = rows[0]
    assert (good["seeds"], good["status"], good["k"], good["criterion"]) == (
        [0, 1],
        "finished",
        18,
        "ks",
    )
    assert good["scores"]["raw"]["bleu"]["value"] == 82.0
    assert good["scores"]["raw"]["bleu"]["by_seed"] == {"0": 80.0, "1": 84.0}
    assert good["cost"]["peak_memory_bytes"] == 5 * 2**20


def test_rows_that_failed_stay_with_their_reason(rows):
    found = {row["baseline"]: (row["status"], row["reason"]) for row in rows}
    assert found["lora"] == ("diverged", "the loss is nan")
    assert found["late"] == ("skipped", "the source of its ticket is out_of_memory: too big")
    assert found["open"] == ("pending", None)
    assert reasons(rows)[0] == "lora: diverged: the loss is nan"


def test_a_suite_that_was_never_run_names_the_closest(store):
    with pytest.raises(StorageError, match="Did you mean 'mine'"):
        read_leaderboard(store, "mime")


def test_json_and_csv_hold_the_same_unrounded_numbers(rows):
    (first, *_) = json.loads(as_json(rows))
    (flat, *others) = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert first == rows[0]
    assert float(flat["scores.raw.bleu.value"]) == first["scores"]["raw"]["bleu"]["value"]
    assert float(flat["cost.train_seconds"]) == 7.0
    assert [one["status"] for one in others] == ["diverged", "skipped", "pending"]


def test_the_table_fits_eighty_columns_and_shows_every_row(rows):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(as_table(rows, title="mine"))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "82.0 ±1.5" in text
    assert "…" not in text
    for word in ("good", "lora", "diverged", "skipped", "pending"):
        assert word in text


def test_markdown_shows_intervals_and_reasons(rows):
    text = as_markdown(rows)
    assert "| good | 2,304 | 82.0 [80.0, 83.0] | 91.0 [89.0, 92.0] | 50 | 15.0 | 5 MiB |" in text
    assert "- lora: diverged: the loss is nan" in text


@pytest.mark.parametrize(
    ("count", "said"), [(12, "12 B"), (2048, "2 KiB"), (3 * 2**20, "3 MiB"), (5 * 2**30, "5.0 GiB")]
)
def test_sizes_are_in_binary_units(count, said):
    assert human_bytes(count) == said
