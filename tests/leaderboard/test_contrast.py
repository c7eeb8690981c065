import json

import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from ksl_bench.errors import ConfigError, StorageError
from ksl_bench.leaderboard import read_leaderboard
from ksl_bench.leaderboard.contrast import contrast
from tests.boards import Written, references, written


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Written(tmp_path_factory.mktemp("store"))
    made.scored("base", [0.5, 0.5], method="none").scored("one", [0.9, 0.9]).scored(
        "two", [0.88, 0.89]
    )
    made.recipe("never", "full")
    made.row("never", 0, "0" * 20)
    return made.done()


def test_the_gain_of_the_board_is_the_contrast_with_the_base(store):
    rows = {row["baseline"]: row for row in read_leaderboard(store, "mine")}
    found = contrast(store, "mine", "one", "base", rule="raw")
    assert found["difference"] == rows["one"]["gains"]["raw"]["bleu"]


@pytest.mark.parametrize(("index", "test"), [(0, "bs"), (1, "ar")])
def test_sentence_tests_are_sacrebleus_and_say_what_they_claim(store, index, test):
    found = contrast(store, "mine", "one", "two")
    systems = [("one", written(0.9, 0)), ("two", written(0.88, 0))]
    metrics = {"BLEU": BLEU(references=[references()])}
    samples = 1000 if test == "bs" else 10_000
    _, scores = PairedTest(systems, metrics, None, test_type=test, n_samples=samples)()
    ours = found["sentence_tests"][index]
    assert ours["seed"] == 0
    # sacrebleu does not count draws that tie with what was seen: here one of 10,000
    expected = float(scores["BLEU"][1].p_value)
    assert expected <= ours["p_value"] <= expected + 1.5 / samples
    assert ours["claims"] == "these trained models only"


def test_a_row_against_itself_differs_by_nothing(store):
    found = contrast(store, "mine", "one", "one")
    assert (found["difference"]["value"], found["difference"]["p_value"]) == (0, 1)
    assert {one["p_value"] for one in found["sentence_tests"]} == {1}
    assert found["verdict"] == "non_inferior"


def test_names_that_are_not_there_are_named(store):
    with pytest.raises(ConfigError, match="Did you mean 'two'"):
        contrast(store, "mine", "one", "tow")
    with pytest.raises(ConfigError, match="chrf under raw"):
        contrast(store, "mine", "one", "two", metric="chrff", rule="raw")
    with pytest.raises(StorageError, match="never: has no result under default"):
        contrast(store, "mine", "one", "never")


def test_the_command_prints_what_it_found(ksl, store):
    shown = ksl("contrast", "mine", "one", "two", "--storage", store.root)
    assert shown.returncode == 0
    assert "one less two: " in shown.stdout
    assert "of these trained models only" in shown.stdout
    told = ksl("contrast", "mine", "one", "two", "--storage", store.root, "--json")
    assert len(json.loads(told.stdout)["sentence_tests"]) == 4
    refused = ksl("contrast", "mine", "one", "none", "--storage", store.root)
    assert refused.returncode == 2
