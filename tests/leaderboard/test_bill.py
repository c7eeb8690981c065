import pytest

from ksl_bench.leaderboard import read_leaderboard
from tests.boards import COST, Written

SEARCH = {"trials": 8, "space": "s", "seeds": [7], "steps": 960, "device_hours": 0.5}


def rows_of(made):
    return {row["baseline"]: row for row in read_leaderboard(made.done(), made.name)}


def test_means_over_seeds_and_the_highest_peak_over_ranks(tmp_path):
    made = Written(tmp_path)
    ranks = [{"allocated": 5, "reserved": 70}, {"allocated": 6, "reserved": 80}]
    made.scored("full", [0.9, 0.8], cost={**COST, "train_peak_memory": ranks})
    cost = rows_of(made)["full"]["cost"]
    assert cost["train_seconds"] == 7.0
    assert cost["train_tokens_per_second"] == 100.0
    assert (cost["peak_allocated_bytes"], cost["peak_reserved_bytes"]) == (3 * 2**20, 80)
    assert cost["peak_memory_bytes"] == 3 * 2**20  # of evaluation, which tells of no reserved bytes


def test_a_search_is_on_the_bill_in_hours_and_money(tmp_path):
    made = Written(tmp_path, resources={"price_per_device_hour": 2.0}).scored("full", [0.9])
    made.scored("tuned", [0.9], method="lora", search=SEARCH)
    rows = rows_of(made)
    cost = rows["tuned"]["cost"]
    assert (cost["search_device_hours"], cost["total_device_hours"]) == (0.5, 0.51)
    assert cost["money"] == pytest.approx(2.0 * 0.51)
    assert cost["over_full"] == pytest.approx(51)
    assert rows["full"]["cost"]["over_full"] == 1


def test_without_full_fine_tuning_nothing_is_over_it(tmp_path):
    row = rows_of(Written(tmp_path).scored("lora", [0.9], method="lora"))["lora"]
    assert row["cost"]["over_full"] is None


def test_money_is_at_the_price_of_the_last_run_whatever_the_results_were_made_at(tmp_path):
    made = Written(tmp_path).scored("full", [0.9], cost={**COST, "money": 99.0})
    assert rows_of(made)["full"]["cost"]["money"] is None
    made.suite["resources"] = {"price_per_device_hour": 3.0}
    assert rows_of(made)["full"]["cost"]["money"] == pytest.approx(0.03)


def test_a_bill_tells_whether_full_fine_tuning_scores_more_for_its_cost(tmp_path):
    made = Written(tmp_path).scored("full", [0.8] * 5)
    made.scored("better", [0.99] * 5, method="lora").scored("worse", [0.5] * 5, method="prefix")
    made.scored("alike", [0.8] * 5, method="embedding")
    made.scored("apart", [0.99] * 5, method="lora", train={"steps": 500})
    made.scored("partly", [0.99] * 4, method="lora").lost("partly", [4])
    found = {name: row["cost"]["score_against_full"] for name, row in rows_of(made).items()}
    assert found == {
        "full": None,
        "better": "higher",
        "worse": "lower",
        "alike": "not_shown",
        "apart": None,
        "partly": None,
    }


def test_a_merge_of_full_fine_tuning_is_not_full_fine_tuning(tmp_path):
    made = Written(tmp_path).scored("merged", [0.9], cost={**COST, "device_hours": 0.04})
    made.baselines["merged"]["merge"] = {"of": "full", "rule": "task_arithmetic", "weight": 1.0}
    made.scored("full", [0.9], cost={**COST, "device_hours": 0.01})
    found = {name: row["cost"]["over_full"] for name, row in rows_of(made).items()}
    assert found == {"merged": pytest.approx(4), "full": 1}
