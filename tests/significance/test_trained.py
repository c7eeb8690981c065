import numpy as np
import pytest
from sacrebleu.significance import PairedTest

from ksl_bench.evaluation.metrics import make_scorer
from ksl_bench.evaluation.statistics import corpus_scores, sentence_statistics
from ksl_bench.significance.trained import approximate_randomization, paired_bootstrap

WORDS = np.array(
    ["the", "cat", "sat", "on", "a", "mat", "while", "two", "dogs", "ran", "home", "and"]
)


def noisy(references, keep, seed):
    draw = np.random.default_rng(seed)
    return [
        " ".join(word if draw.random() < keep else draw.choice(WORDS) for word in line.split())
        for line in references
    ]


def texts(gap):
    draw = np.random.default_rng(0)
    references = [" ".join(draw.choice(WORDS, size=draw.integers(6, 14))) for _ in range(60)]
    return noisy(references, 0.7, 1), noisy(references, 0.7 - gap, 2), references


def counted(metric, hypotheses, references):
    return sentence_statistics(metric, hypotheses, references, "eng")


def scored(metric):
    return lambda sums: corpus_scores(metric, sums)


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("metric", ["bleu", "chrf"])
@pytest.mark.parametrize(("kind", "draws"), [("bs", 300), ("ar", 300)])
def test_p_values_are_sacrebleus(metric, kind, draws, gap, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    first, second, references = texts(gap)
    theirs = PairedTest(
        [("first", first), ("second", second)],
        {metric: make_scorer(metric, "eng")},
        [references],
        test_type=kind,
        n_samples=draws,
    )()[1]
    results = next(value for name, value in theirs.items() if name != "System")
    arguments = (
        counted(metric, first, references),
        counted(metric, second, references),
        scored(metric),
    )
    ours = (
        paired_bootstrap(*arguments, resamples=draws)
        if kind == "bs"
        else approximate_randomization(*arguments, trials=draws)
    )
    assert ours.p_value == pytest.approx(results[1].p_value, abs=1e-12)
    assert ours.difference == pytest.approx(results[0].score - results[1].score, abs=1e-9)
    assert ours.claims == "these trained models only"


@pytest.mark.parametrize("test", [paired_bootstrap, approximate_randomization])
def test_a_system_against_itself_has_p_1(test):
    first, _, references = texts(0.0)
    stats_NS = counted("chrf", first, references)
    found = test(stats_NS, stats_NS, scored("chrf"))
    assert (found.difference, found.p_value) == (0, 1)


def test_one_sentence_that_differs_tells_nothing():
    """sacrebleu counts no ties and says p = 1 / (trials + 1) here."""
    first, _, references = texts(0.0)
    second = ["", *first[1:]]
    arguments = counted("bleu", first, references), counted("bleu", second, references)
    assert approximate_randomization(*arguments, scored("bleu")).p_value == 1


def test_randomization_is_the_exact_sign_test_on_few_sentences():
    """All 2^8 swaps of eight differences, counted by hand."""
    gaps = np.array([0.9, 0.4, 0.3, 1.1, -0.2, 0.8, 0.5, -0.1])
    signs = np.array([[1 - 2 * (k >> n & 1) for n in range(8)] for k in range(256)])
    exact = (np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-9).mean()
    found = approximate_randomization(
        gaps[:, None], np.zeros((8, 1)), lambda sums: sums[..., 0], trials=40_000
    )
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / 40_000))


@pytest.mark.parametrize("test", [paired_bootstrap, approximate_randomization])
def test_whole_documents_carry_less_evidence_than_their_sentences(test):
    gaps = np.repeat(np.random.default_rng(2).normal(0.3, 1, size=20), 10)
    arguments = gaps[:, None], np.zeros((200, 1)), lambda sums: sums[..., 0] / 200
    documents = np.repeat(np.arange(20), 10).tolist()
    assert test(*arguments, documents=documents).p_value > 5 * test(*arguments).p_value


def test_of_equal_systems_randomization_keeps_its_level_and_the_paired_bootstrap_does_not():
    """What the docs say of sacrebleu's p: about 11 % below 0.05 where a two-sided test has 5 %."""
    draw, experiments = np.random.default_rng(1), 600
    tests = {paired_bootstrap: {"resamples": 200}, approximate_randomization: {"trials": 200}}
    called = dict.fromkeys(tests, 0)
    for _ in range(experiments):
        both = draw.normal(0.5, 0.2, size=(2, 50, 1))
        for test, draws in tests.items():
            found = test(*both, lambda sums: sums[..., 0], **draws)
            called[test] += found.p_value < 0.05
    error = np.sqrt(0.05 * 0.95 / experiments)
    assert called[approximate_randomization] / experiments == pytest.approx(0.05, abs=4 * error)
    assert called[paired_bootstrap] / experiments > 0.05 + 4 * error


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must both be"):
        paired_bootstrap(np.ones((3, 2)), np.ones((4, 2)), scored("bleu"))
    with pytest.raises(ValueError, match="trials must be >= 1, got 0"):
        approximate_randomization(np.ones((3, 2)), np.ones((3, 2)), scored("bleu"), trials=0)
