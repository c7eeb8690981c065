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
    as_tables,
    human_bytes,
    read_leaderboard,
    reasons,
)
from ksl_bench.leaderboard.gains import add_gains
from ksl_bench.leaderboard.tables import human_count, sections
from ksl_bench.store import Store, key_of


def key(name):
    return key_of({"name": name})


def score(value):
    return {"value": value, "low": value - 2, "high": value + 1, "signature": "nrefs:1"}


def result(seed, raw, line):
    return {
        "seed": seed,
        "ticket_rows": 18,
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
        empty |= {"condition": "default", "scored_under": "default"}
        return {"baseline": baseline, "seed": seed, "evaluation": key(evaluation), **empty, **rest}

    ticket = {"criterion": "ks", "k": 18, "alpha": None, "from": "embedding"}
    plan = {
        "suite": {
            "conditions": {},
            "baselines": [
                {"name": "good", "method": "partial_tuning", "ticket": ticket},
                {"name": "lora", "method": "lora", "ticket": None},
                {"name": "late", "method": "partial_tuning", "ticket": ticket},
                {"name": "open", "method": "full", "ticket": None},
            ],
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
    for table in as_tables(rows, title="mine", width=80):
        console.print(table)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "82.0±1.5" in text
    assert "…" not in text
    for word in ("good", "lora", "diverged", "skipped", "pending"):
        assert word in text


def test_markdown_shows_intervals_and_reasons(rows):
    text = as_markdown(rows)
    cells = "| good | 2.3k | 82.0 [80.0, 83.0] | 91.0 [89.0, 92.0] |  |  |  |  | 50 | 15 | 5 |"
    assert cells in text
    assert "- lora: diverged: the loss is nan" in text


@pytest.mark.parametrize(
    ("count", "said"), [(12, "12 B"), (2048, "2 KiB"), (3 * 2**20, "3 MiB"), (5 * 2**30, "5.0 GiB")]
)
def test_sizes_are_in_binary_units(count, said):
    assert human_bytes(count) == said


def scored(baseline, raw, line, *, method="partial_tuning", seeds=(0,), **place):
    """One row as `read_leaderboard` makes it, before gains: (mean, spread over seeds) by rule."""

    def one(mean, spread):
        values = {str(seed): mean + spread * (seed - len(seeds) // 2) for seed in seeds}
        interval = {"low": mean - 3.0, "high": mean + 3.0, "signature": ""}
        return {"bleu": {"value": mean, **interval, "by_seed": values}}

    row = {"baseline": baseline, "method": method, "probe": None}
    row |= {"condition": "one", "scored_under": "one", **place}
    return {**row, "scores": {"raw": one(*raw), "first_line": one(*line)}}


def test_the_gain_over_the_base_has_an_interval_of_sentences_and_seeds():
    base = scored("base", (20.0, 0.0), (90.0, 0.0), method="none", seeds=(0, 1, 2))
    tuned = scored("ks", (95.0, 1.0), (92.0, 1.0), seeds=(0, 1, 2))
    add_gains([base, tuned])
    gain = tuned["gains"]["raw"]["bleu"]
    # values 94, 95, 96: standard error 1/sqrt(3); t(0.975, 2 degrees) = 4.302653
    half = (3.0**2 + 3.0**2 + (4.302653 / 3**0.5) ** 2) ** 0.5
    assert gain["value"] == 75.0
    assert gain["high"] - gain["value"] == pytest.approx(half, rel=1e-6)
    assert gain["value"] - gain["low"] == pytest.approx(half, rel=1e-6)
    assert base["gains"] is None


def test_the_share_of_termination_is_one_minus_the_ratio_of_gains_and_never_clipped():
    base = scored("base", (20.0, 0.0), (90.0, 0.0), method="none")
    rows = [
        base,
        scored("ks", (95.0, 0.0), (93.0, 0.0)),
        scored("worse", (80.0, 0.0), (60.0, 0.0)),
        scored("random", (22.0, 0.0), (91.0, 0.0)),
    ]
    add_gains(rows)
    shares = [row["termination_share"] for row in rows]
    assert shares == [None, pytest.approx(1 - 3 / 75), pytest.approx(1 + 30 / 60), None]


def test_a_gain_is_taken_over_the_base_under_the_same_prompt():
    rows = [
        scored("base", (20.0, 0.0), (90.0, 0.0), method="none"),
        scored("base", (1, 0.0), (1.0, 0.0), method="none", condition="two", scored_under="two"),
        scored("ks", (95.0, 0.0), (93.0, 0.0)),
        scored("ks", (51.0, 0.0), (51.0, 0.0), condition="two", scored_under="two"),
        scored("ks", (11.0, 0.0), (11.0, 0.0), scored_under="two"),
    ]
    add_gains(rows)
    assert rows[4]["gains"]["raw"]["bleu"]["value"] == 10.0
    assert rows[4]["recovery"] == {"of": "ks under two", "raw": 0.2, "first_line": 0.2}
    assert rows[2]["recovery"] is None


def test_a_probe_recovers_a_share_of_the_gain_of_what_it_probes():
    rows = [
        scored("base", (20.0, 0.0), (90.0, 0.0), method="none"),
        scored("ks", (100.0, 0.0), (91.0, 0.0)),
        scored("only", (60.0, 0.0), (90.0, 0.0), probe={"of": "ks", "active_in": "source"}),
    ]
    add_gains(rows)
    # the first line's own gain is within chance: no share of it is shown
    assert rows[2]["recovery"] == {"of": "ks under one", "raw": 0.5, "first_line": None}


def test_conditions_probes_and_transfers_each_have_a_table():
    def whole(row):
        extra = {"status": "finished", "reason": None, "trainable_parameters": 1_023_872}
        cost = {"selection_seconds": 1.0, "train_seconds": 2.0, "peak_memory_bytes": 2**20}
        return {
            **row,
            **extra,
            "search": None,
            "seeds": [0],
            "sentences": 9,
            "eos_rate": 1.0,
            "cost": cost,
        }

    two = {"condition": "two", "scored_under": "two"}
    rows = [
        whole(scored("base", (20.0, 0.0), (90.0, 0.0), method="none")),
        whole(scored("ks", (95.0, 0.0), (93.0, 0.0))),
        whole(scored("only", (60.0, 0.0), (90.0, 0.0), probe={"of": "ks"})),
        whole(scored("ks", (51.0, 0.0), (51.0, 0.0), **two)),
        whole(scored("ks", (11.0, 0.0), (11.0, 0.0), scored_under="two")),
    ]
    add_gains(rows)
    found = [(one.title, len(one.lines)) for one in sections(rows)]
    assert found == [(", one", 2), (", one, probes", 1), (", two", 1), (", transfer", 1)]
    cells = "| ks | 1.02M | 95.0 [92.0, 98.0] | 93.0 [90.0, 96.0] | 75.0 [70.8, 79.2] | 3.0 [-1.2, 7.2] |"
    assert cells in as_markdown(rows)


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (2304, "2.3k"), (999_400, "999k"), (999_600, "1M"), (6.74e9, "6.74B")],
)
def test_counts_of_parameters_are_short(count, said):
    assert human_count(count) == said
