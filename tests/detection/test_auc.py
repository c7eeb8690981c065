"""Against scikit-learn's area under the ROC curve."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ksl_bench.detection.auc import auc
from ksl_bench.significance.resampling import resample


def sample(digits, seed=0, texts=150):
    draw = np.random.default_rng(seed)
    machine = draw.random(texts) < 0.3
    return np.round(draw.normal(size=texts) + machine, digits), machine


@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("seed", range(5))
def test_it_equals_scikit_learn(digits, seed):
    scores, machine = sample(digits, seed)
    assert auc(scores, machine) == pytest.approx(roc_auc_score(machine, scores), abs=1e-12)


@pytest.mark.parametrize("digits", [0, 6])
def test_resamples_equal_scikit_learn_with_weights(digits):
    scores, machine = sample(digits)
    counts = resample(len(scores), 50).counts_BN
    found = auc(scores, machine, counts)
    expected = [roc_auc_score(machine, scores, sample_weight=one) for one in counts]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_one_class_has_no_area():
    found = auc([1.0, 2.0, 3.0], [False, True, True], [[1, 1, 1], [0, 2, 1], [3, 0, 0]])
    assert found[0] == 1.0
    assert np.isnan(found[1:]).all()


def test_scores_that_say_nothing_have_one_half():
    assert auc([7.0] * 4, [True, False, False, True]) == 0.5


def test_weights_must_fit():
    with pytest.raises(ValueError, match="not one a text of 2"):
        auc([1.0, 2.0], [True, False], np.ones((3, 4)))
