import json

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from sklearn.metrics import accuracy_score, f1_score

from ksl_bench.errors import ConfigError, StorageError
from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import draw_sentences, score_answers
from ksl_bench.leaderboard import read_leaderboard
from ksl_bench.leaderboard.contrast import contrast
from ksl_bench.store import key_of
from tests.boards import SENTENCES, Written, references, result, written

LABELS = ("health", "sports", "travel")


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


def test_a_row_whose_seeds_diverged_is_not_judged_by_those_that_are_left(tmp_path):
    made = Written(tmp_path, seeds=[0, 1, 2, 3]).scored("one", [0.9] * 4)
    made.scored("lucky", [0.9] * 2).lost("lucky", [2, 3])
    for pair in (("lucky", "one"), ("one", "lucky")):
        found = contrast(made.done(), "mine", *pair)
        assert found["verdict"] == "inconclusive"
        assert found["reason"] == "2 of 4 seeds of lucky finished, the others diverged"
        assert found["difference"]["paired_seeds"] == [0, 1]
        assert [one["seed"] for one in found["sentence_tests"]] == [0, 0, 1, 1]


def test_rows_on_unequal_terms_are_not_compared(ksl, tmp_path):
    made = Written(tmp_path).scored("one", [0.9] * 2)
    made.scored("long", [0.95] * 2, train={"steps": 9000})
    store = made.done()
    found = contrast(store, "mine", "long", "one")
    assert (found["verdict"], found["difference"]) == ("not_comparable", None)
    assert found["reason"].startswith("tuned under another budget (9000 steps")
    assert found["sentence_tests"] == []
    assert found["no_sentence_tests"] == "they are not comparable"
    shown = ksl("contrast", "mine", "long", "one", "--storage", store.root)
    assert shown.returncode == 0
    assert "long less one: not comparable, tuned under another budget" in shown.stdout


def answering(folder, task, answers_of, metrics, **scoring):
    """Return a store of two rows, one and two, whose answers are scored by some metrics."""
    made = Written(folder)
    made.suite["task"] = {"name": task}
    for name in ("one", "two"):
        answers = answers_of(name)
        made.suite["verdicts"] = {"margin": 1.0, "rule": next(iter(answers.hypotheses))}
        measures = {one: build_measure(one, LABELS, str) for one in metrics}
        drawn = draw_sentences([None] * len(answers.references), 200)
        scored = score_answers(answers, measures, drawn=drawn, **scoring)
        record, files = result(references(), scores=scored.scores, by_group=scored.by_group)
        made.recipe(name, "full")
        made.row(name, 0, key_of({"name": name}))
        made.store.finish("evaluation", key_of({"name": name}), record, {**files, **scored.files})
    return made.done()


def labels(name):
    """Return labels that were wanted, and given by a row; `one` is right more often."""
    draw = np.random.default_rng(len("wanted"))
    wanted = [str(one) for one in draw.choice(LABELS, SENTENCES)]
    right = draw.random(SENTENCES) < {"one": 0.9, "two": 0.4}[name]
    given = [a if ok else LABELS[0] for a, ok in zip(wanted, right, strict=True)]
    return wanted, given


def labelled(name):
    wanted, given = labels(name)
    scores = [float(one != "sports") for one in given]
    return Answers({"global": given}, wanted, ["eng"] * SENTENCES, {}, {"global": scores})


def test_labels_are_tested_too_and_an_area_is_not_as_it_is_no_sum(tmp_path):
    store = answering(tmp_path, "detection", labelled, ("accuracy", "macro_f1", "auc"))

    def macro(wanted, given):
        return f1_score(wanted, given, average="macro", labels=LABELS)

    for metric, scikit in (("accuracy", accuracy_score), ("macro_f1", macro)):
        found = contrast(store, "mine", "one", "two", metric=metric)
        expected = 100 * (scikit(*labels("one")) - scikit(*labels("two")))
        tests = found["sentence_tests"]
        assert [one["difference"] for one in tests] == pytest.approx([expected] * 2)
        assert all(one["p_value"] < 0.01 for one in tests)
        assert found["no_sentence_tests"] is None
    found = contrast(store, "mine", "one", "two", metric="auc")
    assert found["difference"] is not None
    assert found["sentence_tests"] == []
    assert found["no_sentence_tests"] == "auc is not a score of summed sentences"


def directed(name):
    """Return sentences in two directions; those of `two` are in the wrong language, as `str` tells it."""
    given = ["cat" if name == "one" else "deu"] * SENTENCES
    groups = {"direction": ["eng-cat", "deu-cat"] * (SENTENCES // 2)}
    return Answers({"raw": given}, ["cat"] * SENTENCES, ["cat"] * SENTENCES, groups)


def test_a_mean_over_directions_is_not_tested_on_pooled_sentences(ksl, tmp_path):
    metrics = ("bleu", "off_target")
    store = answering(tmp_path, "directions", directed, metrics, macro_axis="direction")
    found = contrast(store, "mine", "one", "two")
    assert found["sentence_tests"] == []
    assert "a mean over directions" in found["no_sentence_tests"]
    shown = ksl("contrast", "mine", "one", "two", "--storage", store.root)
    assert "no tests on the sentences: the score is a mean over directions" in shown.stdout


def test_fewer_hypotheses_in_a_wrong_language_are_not_worse(tmp_path):
    metrics = ("bleu", "off_target")
    store = answering(tmp_path, "directions", directed, metrics, macro_axis="direction")
    found = contrast(store, "mine", "one", "two", metric="off_target")
    assert found["difference"]["value"] == -100
    assert found["verdict"] == "non_inferior"
    assert contrast(store, "mine", "two", "one", metric="off_target")["verdict"] == "worse"


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
    assert "sacrebleu's p, about half of a two-sided" in " ".join(shown.stdout.split())
    told = ksl("contrast", "mine", "one", "two", "--storage", store.root, "--json")
    assert len(json.loads(told.stdout)["sentence_tests"]) == 4
    refused = ksl("contrast", "mine", "one", "none", "--storage", store.root)
    assert refused.returncode == 2
