import pytest

from ksl_bench.leaderboard import read_leaderboard
from tests.boards import Written


def rows_of(made):
    found = read_leaderboard(made.done(), made.name)
    return {(row["baseline"], row["condition"], row["scored_under"]): row for row in found}


def plain(made):
    return {name: row for (name, *_), row in rows_of(made).items()}


def test_the_share_of_termination_is_what_the_raw_output_gained_more_than_the_first_line(tmp_path):
    made = Written(tmp_path)
    made.scored("base", [0.9], method="none", stops=False)
    made.scored("stops", [0.9], lines=None)
    made.scored("learns", [0.99])
    rows = plain(made)
    values = {
        name: {rule: metrics["bleu"]["value"] for rule, metrics in row["scores"].items()}
        for name, row in rows.items()
    }
    for name in ("stops", "learns"):
        raw = values[name]["raw"] - values["base"]["raw"]
        content = values[name]["first_line"] - values["base"]["first_line"]
        assert rows[name]["termination"]["value"] == pytest.approx(raw - content)
        assert rows[name]["termination_share"] == pytest.approx(1 - content / raw)
    assert rows["base"]["gains"] is None
    assert rows["learns"]["termination_share"] < 0.95
    # the same text on the first line: all of the gain is stopping, and nothing varies
    same = rows["stops"]["gains"]["first_line"]["bleu"]
    assert (same["value"], same["low"], same["high"], same["p_value"]) == (0, 0, 0, 1)
    assert rows["stops"]["termination_share"] == pytest.approx(1)


def test_without_a_clear_raw_gain_there_is_no_share(tmp_path):
    made = Written(tmp_path).scored("base", [0.9], method="none").scored("alike", [0.9])
    assert plain(made)["alike"]["termination_share"] is None


def test_a_gain_is_taken_over_the_base_that_is_scored_alike(tmp_path):
    made = Written(tmp_path, conditions={"one": {}, "two!": {}})
    for condition, quality in (("one", 0.5), ("two!", 0.2)):
        made.scored("base", [quality], method="none", condition=condition)
        made.scored("ks", [0.9], method="partial_tuning", condition=condition)
    made.scored("ks", [0.55], method="partial_tuning", condition="one", scored_under="two!")
    rows = rows_of(made)
    moved, home = rows["ks", "one", "two!"], rows["ks", "two!", "two!"]
    base = rows["base", "two!", "two!"]

    def score(row):
        return row["scores"]["raw"]["bleu"]["value"]

    assert moved["gains"]["raw"]["bleu"]["value"] == pytest.approx(score(moved) - score(base))
    kept = (score(moved) - score(base)) / (score(home) - score(base))
    assert moved["recovery"]["of"] == "ks under two!"
    assert moved["recovery"]["raw"] == pytest.approx(kept)
    assert home["recovery"] is None


def test_a_probe_recovers_a_share_of_the_gain_of_what_it_probes(tmp_path):
    made = Written(tmp_path)
    made.scored("base", [0.5], method="none").scored("ks", [0.9], method="partial_tuning")
    made.scored("only", [0.7], method="partial_tuning", probe={"of": "ks"})
    rows = plain(made)
    gains = {name: rows[name]["gains"]["raw"]["bleu"]["value"] for name in ("ks", "only")}
    assert rows["only"]["recovery"]["raw"] == pytest.approx(gains["only"] / gains["ks"])


def test_what_was_not_computed_as_the_base_was_has_no_gain_over_it_and_says_why(tmp_path):
    made = Written(tmp_path).scored("base", [0.5], method="none", train={"precision": "bf16"})
    made.scored("exact", [0.9], method="partial_tuning")
    made.scored("alike", [0.9], method="lora", train={"precision": "bf16"})
    rows = plain(made)
    assert rows["exact"]["no_gains"] == "computed at another precision (fp32, not bf16)"
    fields = ("gains", "termination", "termination_share")
    assert [rows["exact"][one] for one in fields] == [None] * 3
    assert rows["alike"]["no_gains"] is None
    assert rows["alike"]["gains"]["raw"]["bleu"]["value"] > 0
