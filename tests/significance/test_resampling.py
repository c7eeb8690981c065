import time

import numpy as np
import pytest
from sacrebleu.significance import _bootstrap_resample

from ksl_bench.evaluation.metrics import make_scorer
from ksl_bench.evaluation.statistics import corpus_scores, sentence_statistics
from ksl_bench.significance.resampling import document_index, resample, score_system


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def test_every_resample_holds_as_many_sentences_as_there_are():
    drawn = resample(30, 200)
    assert drawn.counts_BN.shape == (200, 30)
    assert (drawn.counts_BN.sum(axis=1) == 30).all()
    assert drawn.draw.groups == 30


def test_the_draws_are_sacrebleus(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    hypotheses = ["the cat sat on the mat", "a dog runs home", "she reads old books"] * 4
    references = ["the cat sat on a mat", "the dog runs home", "she reads many books"] * 4
    scorer = make_scorer("chrf", "eng")
    stats_NS = sentence_statistics("chrf", hypotheses, references, "eng")
    expected = [one.score for one in _bootstrap_resample(stats_NS.tolist(), scorer, 50)[1]]
    found = corpus_scores("chrf", resample(12, 50).counts_BN @ stats_NS)
    assert found == pytest.approx(expected, rel=1e-5)  # sacrebleu's are float32


def test_documents_are_drawn_whole():
    documents = ["a", "b", "a", "c", "b"]
    drawn = resample(5, 100, documents=documents)
    counts_BN = drawn.counts_BN
    assert drawn.draw.groups == 3
    assert (counts_BN[:, 0] == counts_BN[:, 2]).all()
    assert (counts_BN[:, 1] == counts_BN[:, 4]).all()
    assert (counts_BN[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_documents_are_numbered_by_first_appearance():
    assert document_index(["z", "a", "z"], 3).tolist() == [0, 1, 0]
    assert document_index(None, 3).tolist() == [0, 1, 2]


def test_a_system_is_scored_seed_by_seed_on_the_same_sentences():
    draw = np.random.default_rng(0)
    stats_RNS = np.stack([draw.normal(size=(3, 20)), np.ones((3, 20))], axis=2)
    drawn = resample(20, 40)
    system = score_system([1, 2, 3], stats_RNS, mean, drawn)
    again = np.array(
        [
            [np.average(stats_RNS[r, :, 0], weights=drawn.counts_BN[b]) for r in range(3)]
            for b in range(40)
        ]
    )
    assert system.scores_R == pytest.approx(stats_RNS[:, :, 0].mean(axis=1))
    assert system.resampled_BR == pytest.approx(again)
    assert not system.fixed
    assert score_system([], stats_RNS[:1], mean, drawn).fixed


def test_a_thousand_resamples_of_a_thousand_sentences_take_well_under_a_second():
    stats_RNS = np.random.default_rng(0).integers(1, 30, size=(5, 1000, 18))
    drawn = resample(1000, 1000)
    started = time.process_time()
    score_system(range(5), stats_RNS, lambda sums: corpus_scores("chrf", sums), drawn)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sentences": 1}, "at least 2 sentences, got 1"),
        ({"sentences": 0}, "at least 2 sentences, got 0"),
        ({"sentences": 3, "documents": ["a"] * 3}, "at least 2 documents, got 1"),
        ({"sentences": 3, "documents": ["a", "b"]}, "3 sentences, but 2 document ids"),
        ({"sentences": 3, "resamples": 1}, "resamples must be >= 2, got 1"),
    ],
)
def test_what_cannot_be_resampled_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        resample(**arguments)


@pytest.mark.parametrize(
    ("seeds", "shape", "message"),
    [
        ([1, 1], (2, 5, 1), "once"),
        ([1, 2], (3, 5, 1), "statistics of 2 seeds"),
        ([1, 2], (2, 4, 1), "statistics of 2 seeds"),
        ([], (2, 5, 1), "statistics of 0 seeds"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(seeds, shape, message):
    with pytest.raises(ValueError, match=message):
        score_system(seeds, np.ones(shape), mean, resample(5, 10))
