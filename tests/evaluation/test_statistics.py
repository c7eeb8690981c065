import numpy as np
import pytest

from ksl_bench.evaluation.metrics import make_scorer, tokenizer_file
from ksl_bench.evaluation.statistics import corpus_scores, sentence_statistics, statistics_width

WORDS = np.array(
    ["the", "cat", "sat", "on", "a", "mat", "while", "two", "dogs", "ran", "home", "and"]
)


def texts(seed, sentences=40, longest=12):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest, size=sentences)
    references = [" ".join(draw.choice(WORDS, size=length)) for length in lengths]
    hypotheses = [
        " ".join(word if draw.random() < 0.7 else draw.choice(WORDS) for word in line.split())
        for line in references
    ]
    return hypotheses, references


CASES = {
    "usual": texts(0),
    "short": texts(1, longest=4),
    "one sentence": texts(2, sentences=1),
    "some empty": (["", *texts(3)[0][1:]], texts(3)[1]),
    "all empty": ([""] * 40, texts(4)[1]),
    "nothing right": (["x y z w v"] * 40, texts(5)[1]),
    "only single words right": (["cat x mat y the"] * 3, ["the cat sat on the mat"] * 3),
    "too short for four": (["the cat"] * 3, ["the cat"] * 3),
    "too long": ([f"{line} {line}" for line in texts(6)[0]], texts(6)[1]),
    "all right": (texts(7)[1], texts(7)[1]),
}


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
@pytest.mark.parametrize("case", CASES)
def test_sums_of_statistics_score_as_sacrebleu_scores_the_text(metric, case):
    hypotheses, references = CASES[case]
    stats_NS = sentence_statistics(metric, hypotheses, references, "eng")
    expected = make_scorer(metric, "eng").corpus_score(hypotheses, [references]).score
    assert stats_NS.shape == (len(hypotheses), statistics_width(metric))
    assert corpus_scores(metric, stats_NS.sum(axis=0)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_many_sums_are_scored_at_once(metric):
    hypotheses, references = CASES["usual"]
    stats_NS = sentence_statistics(metric, hypotheses, references, "eng")
    chosen = np.random.default_rng(1).integers(40, size=(2, 3, 25))
    scorer = make_scorer(metric, "eng")
    expected = [
        [
            scorer.corpus_score([hypotheses[n] for n in row], [[references[n] for n in row]]).score
            for row in block
        ]
        for block in chosen
    ]
    assert corpus_scores(metric, stats_NS[chosen].sum(axis=2)) == pytest.approx(
        np.array(expected), abs=1e-9
    )


@pytest.mark.parametrize("metric", ["spbleu_flores101", "spbleu_flores200"])
def test_spbleu_is_bleu_by_its_own_tokenizer(metric):
    if not tokenizer_file(metric).exists():
        pytest.skip("sacrebleu's SentencePiece file is not here")
    hypotheses, references = CASES["usual"]
    stats_NS = sentence_statistics(metric, hypotheses, references, "eng")
    expected = make_scorer(metric, "eng").corpus_score(hypotheses, [references]).score
    assert corpus_scores(metric, stats_NS.sum(axis=0)) == pytest.approx(expected, abs=1e-9)


def test_chinese_is_counted_by_chinese_tokens():
    stats_NS = sentence_statistics("bleu", ["我喜欢猫。"], ["我喜欢狗。"], "zho")
    assert stats_NS[0, :2].tolist() == [5, 5]


def test_no_sentences_score_zero():
    for metric in ("bleu", "chrf"):
        stats_NS = sentence_statistics(metric, [], [], "eng")
        assert corpus_scores(metric, stats_NS.sum(axis=0)) == 0


def test_a_missing_hypothesis_is_refused():
    with pytest.raises(ValueError, match="1 hypotheses, but 2 references"):
        sentence_statistics("bleu", ["a"], ["a", "b"], "eng")


def test_statistics_of_another_metric_are_refused():
    with pytest.raises(ValueError, match="bleu keeps 10 numbers"):
        corpus_scores("bleu", np.zeros(18))
