"""Label metrics against scikit-learn; scores of groups against scoring each group alone."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import LabelMeasure, TextMeasure, build_measure
from ksl_bench.evaluation.metrics import score_corpus
from ksl_bench.evaluation.scoring import (
    GROUPS_FILE,
    RESAMPLES_FILE,
    draw_sentences,
    read_arrays,
    score_answers,
)

LABELS = ("health", "sports", "travel")
N = 60


def labels(seed, answers=LABELS):
    return [str(one) for one in np.random.default_rng(seed).choice(answers, size=N)]


def answered(given, wanted, groups=None):
    return Answers({"likelihood": given}, wanted, ["eng"] * len(wanted), groups or {})


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_macro_f1_are_scikit_learns(seed):
    given, wanted = labels(seed), labels(100 + seed)
    answers = answered(given, wanted)
    accuracy = LabelMeasure("accuracy", LABELS).value(answers, "likelihood")
    assert accuracy == pytest.approx(100 * accuracy_score(wanted, given))
    macro = LabelMeasure("macro_f1", LABELS).value(answers, "likelihood")
    assert macro == pytest.approx(100 * f1_score(wanted, given, average="macro"))


def test_an_answer_that_is_no_label_is_wrong_and_no_class_of_its_own():
    given, wanted = labels(1, (*LABELS, "")), labels(2)
    macro = LabelMeasure("macro_f1", LABELS).value(answered(given, wanted), "likelihood")
    assert macro == pytest.approx(100 * f1_score(wanted, given, average="macro", labels=LABELS))


def test_a_draw_is_scored_as_if_it_were_the_corpus():
    given, wanted = labels(3), labels(4)
    drawn = draw_sentences([None] * N, 100)
    measure = LabelMeasure("macro_f1", LABELS)
    found = measure.scores(
        drawn.counts_BN, measure.statistics(answered(given, wanted), "likelihood")
    )
    for b in (0, 50, 99):
        places = np.repeat(np.arange(N), drawn.counts_BN[b].astype(int))
        some = [given[at] for at in places], [wanted[at] for at in places]
        assert found[b] == pytest.approx(100 * f1_score(some[1], some[0], average="macro"))


def test_an_empty_draw_has_no_score():
    measure = LabelMeasure("accuracy", LABELS)
    kept = measure.statistics(answered(labels(1), labels(2)), "likelihood")
    assert np.isnan(measure.scores(np.zeros((1, N)), kept)).all()


def test_text_of_several_languages_is_tokenized_by_each():
    hypotheses, references = ["我喜欢猫。", "I like cats."], ["我喜欢狗。", "I like dogs."]
    answers = Answers({"raw": hypotheses}, references, ["zho", "eng"], {})
    signature = TextMeasure("bleu").signature(answers, "raw")
    assert "tok:zh" in signature
    assert "tok:13a" in signature
    alone = score_corpus("bleu", hypotheses[:1], references[:1], language="zho").value
    assert TextMeasure("bleu").value(answers.at([0]), "raw") == pytest.approx(alone)


GROUPS = ["eng-cat" if at % 3 else "cat-eng" for at in range(N)]


def scored(macro_axis=None):
    given, wanted = labels(5), labels(6)
    answers = answered(given, wanted, {"direction": GROUPS})
    drawn = draw_sentences([str(at // 3) for at in range(N)], 100)
    measures = {"accuracy": build_measure("accuracy", LABELS)}
    return score_answers(answers, measures, drawn=drawn, macro_axis=macro_axis), given, wanted


def test_a_group_scores_as_it_would_alone():
    found, given, wanted = scored()
    for group in ("eng-cat", "cat-eng"):
        places = [at for at in range(N) if GROUPS[at] == group]
        right = accuracy_score([wanted[at] for at in places], [given[at] for at in places])
        entry = found.by_group["direction"][group]["likelihood"]["accuracy"]
        assert entry["value"] == pytest.approx(100 * right)
        assert entry["examples"] == len(places)
        assert entry["low"] < entry["value"] < entry["high"]


@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize("together", [1, 2])
def test_the_interval_of_a_group_is_as_sure_as_its_own_sentences_or_documents(size, together):
    given, wanted = labels(5), labels(6)
    groups = ["few" if at < size * together else "many" for at in range(N)]
    documents = [str(at // together) if together > 1 else None for at in range(N)]
    measures = {"accuracy": build_measure("accuracy", LABELS)}
    answers = answered(given, wanted, {"language": groups})
    found = score_answers(answers, measures, drawn=draw_sentences(documents, 200))
    entry = found.by_group["language"]["few"]["likelihood"]["accuracy"]
    resampled = read_arrays(found.files[GROUPS_FILE])["language/few/likelihood/accuracy"]
    variance = size / (size - 1) * resampled.var(ddof=1)
    half = stats.t.ppf(0.975, size - 1) * np.sqrt(variance)
    assert (entry["units"], entry["examples"]) == (size, size * together)
    assert entry["high"] - entry["value"] == pytest.approx(half)
    assert entry["value"] - entry["low"] == pytest.approx(half)


def test_a_group_of_one_example_has_a_score():
    answers = answered(labels(5), labels(6), {"language": ["one"] + ["rest"] * (N - 1)})
    measures = {"accuracy": build_measure("accuracy", LABELS)}
    found = score_answers(answers, measures, drawn=draw_sentences([None] * N, 100))
    entry = found.by_group["language"]["one"]["likelihood"]["accuracy"]
    assert entry["value"] == entry["low"] == entry["high"]


def test_a_macro_average_is_the_mean_of_its_groups_on_every_draw():
    found, *_ = scored("direction")
    groups = read_arrays(found.files[GROUPS_FILE])
    parts = [groups[f"direction/{group}/likelihood/accuracy"] for group in set(GROUPS)]
    resampled = read_arrays(found.files[RESAMPLES_FILE])["likelihood/accuracy"]
    assert np.allclose(resampled, np.mean(parts, axis=0))
    values = [
        found.by_group["direction"][group]["likelihood"]["accuracy"]["value"]
        for group in set(GROUPS)
    ]
    score = found.scores["likelihood"]["accuracy"]
    assert score["value"] == pytest.approx(np.mean(values))
    assert score["signature"].startswith("mean of 2 directions: accuracy")


def test_without_groups_there_is_no_file_for_them():
    measures = {"accuracy": build_measure("accuracy", LABELS)}
    found = score_answers(
        answered(labels(1), labels(2)), measures, drawn=draw_sentences([None] * N, 100)
    )
    assert GROUPS_FILE not in found.files
    assert found.by_group == {}
