import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import (
    RESAMPLES_FILE,
    SENTENCES_FILE,
    draw_sentences,
    read_arrays,
    score_answers,
)

REFERENCES = [f"the {animal} sat on a mat" for animal in ("cat", "dog", "hen", "cow", "pig")] * 8
LINES = [line.replace(" a ", " the ") if i % 3 else line for i, line in enumerate(REFERENCES)]
DRAWN = draw_sentences([None] * len(REFERENCES), 500)


def scored(hypotheses, references=REFERENCES, drawn=DRAWN, metrics=("bleu", "chrf")):
    answers = Answers(hypotheses, references, ["eng"] * len(references), {})
    measures = {metric: build_measure(metric, []) for metric in metrics}
    return score_answers(answers, measures, drawn=drawn)


def test_scores_are_sacrebleus_and_the_interval_is_around_them():
    score = scored({"raw": LINES}).scores["raw"]["bleu"]
    assert score["value"] == sacrebleu.corpus_bleu(LINES, [REFERENCES]).score
    assert score["low"] < score["value"] < score["high"]
    assert f"version:{sacrebleu.__version__}" in score["signature"]


def test_resamples_are_sacrebleus_draw_for_draw():
    bleu = BLEU(force=True)
    found = read_arrays(scored({"raw": LINES}).files[RESAMPLES_FILE])["raw/bleu"]
    drawn = np.random.default_rng(12345).choice(len(LINES), size=(500, len(LINES)), replace=True)
    for b in (0, 17, 499):
        lines, references = zip(*((LINES[i], REFERENCES[i]) for i in drawn[b]), strict=True)
        assert found[b] == pytest.approx(bleu.corpus_score(lines, [references]).score, abs=1e-3)


def test_statistics_of_every_sentence_are_kept_as_counts():
    arrays = read_arrays(scored({"raw": LINES, "first_line": REFERENCES}).files[SENTENCES_FILE])
    named = {"raw/bleu", "raw/chrf", "first_line/bleu", "first_line/chrf"}
    assert set(arrays) == {*named, "groups"}
    assert arrays["groups"].tolist() == list(range(40))
    assert arrays["raw/bleu"].dtype == np.int32
    assert arrays["raw/bleu"].shape == (40, 10)


def test_rules_that_agree_have_the_same_numbers():
    found = scored({"raw": LINES, "first_line": list(LINES)})
    assert found.scores["raw"] == found.scores["first_line"]
    arrays = read_arrays(found.files[RESAMPLES_FILE])
    assert (arrays["raw/chrf"] == arrays["first_line/chrf"]).all()


def test_the_interval_is_a_t_interval_of_the_bootstraps_spread():
    found = scored({"raw": LINES}, metrics=["chrf"])
    resampled = read_arrays(found.files[RESAMPLES_FILE])["raw/chrf"]
    spread = resampled.std(ddof=1) * np.sqrt(40 / 39)
    score = found.scores["raw"]["chrf"]
    half = stats.t.ppf(0.975, 39) * spread
    assert (score["low"], score["high"]) == pytest.approx(
        (score["value"] - half, score["value"] + half)
    )


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_mostly_empty_hypotheses_have_an_interval_like_any_other(metric):
    """sacrebleu's own bootstrap raises a TypeError here."""
    score = scored({"raw": ["", *LINES[:1], *[""] * 38]}, metrics=[metric]).scores["raw"][metric]
    assert score["low"] <= score["value"] <= score["high"]


def test_whole_documents_are_drawn_where_the_corpus_names_more_than_one():
    assert draw_sentences(["a", "a", "b"], 100).draw.unit == "documents"
    assert draw_sentences(["a", None, "b"], 100).draw.unit == "sentences"
    assert draw_sentences(["a", "a", "a"], 100).draw.unit == "sentences"


def test_paired_differences_of_resamples_are_those_sacrebleu_tests():
    other = [line.replace("sat", "lay") if i % 4 == 0 else line for i, line in enumerate(LINES)]
    systems = [("one", LINES), ("two", other)]
    _, scores = PairedTest(
        systems, {"BLEU": BLEU(references=[REFERENCES])}, None, test_type="bs", n_samples=500
    )()
    ours = read_arrays(scored({"raw": LINES, "first_line": other}).files[RESAMPLES_FILE])
    for rule, result in (("raw", scores["BLEU"][0]), ("first_line", scores["BLEU"][1])):
        assert ours[f"{rule}/bleu"].mean() == pytest.approx(float(result.mean), abs=0.02)
