"""Against scikit-learn's ROC curve."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from ksl_bench.detection.thresholds import Thresholds, calibrate, youden_threshold


def sample(seed, *, texts=120, digits=3, shift=1.0):
    """Return scores, many of them alike where digits are few, and classes."""
    draw = np.random.default_rng(seed)
    machine = draw.random(texts) < 0.4
    return np.round(draw.normal(size=texts) + shift * machine, digits), machine


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
def test_the_threshold_is_the_argmax_of_scikit_learns_curve(seed, digits, shift):
    scores, machine = sample(seed, digits=digits, shift=shift)
    false, true, thresholds = roc_curve(machine, scores, drop_intermediate=False)
    # Rates in exact fractions: rounding must not decide between thresholds that are equally good.
    humans, machines = int((~machine).sum()), int(machine.sum())
    gain = np.rint(true * machines) * humans - np.rint(false * humans) * machines
    assert youden_threshold(scores, machine) == thresholds[np.argmax(gain)]


def test_of_equally_good_thresholds_the_highest_is_taken():
    assert youden_threshold([4, 3, 2, 1], [True, False, True, False]) == 4


def test_where_no_score_helps_nothing_is_called_machine():
    threshold = youden_threshold([1.0, 2.0], [True, False])
    assert threshold == math.inf
    assert not Thresholds(threshold, {}).globally([1.0, 2.0]).any()


def test_a_score_at_the_threshold_is_machine():
    decided = Thresholds(0.5, {"cat": 2.0})
    assert decided.globally([0.5, 0.4]).tolist() == [True, False]
    assert decided.calibrated([0.5, 1.9, 2.0], ["eng", "cat", "cat"]).tolist() == [
        True,
        False,
        True,
    ]


def test_a_language_with_enough_of_both_classes_has_its_own_threshold():
    scores, machine = sample(3, texts=200)
    languages = ["eng"] * 100 + ["cat"] * 100
    found = calibrate(scores, machine, languages, fewest_per_class=20)
    assert found.all_texts == youden_threshold(scores, machine)
    assert found.by_language == {
        "cat": youden_threshold(scores[100:], machine[100:]),
        "eng": youden_threshold(scores[:100], machine[:100]),
    }


@pytest.mark.parametrize("rare", [True, False])
def test_a_language_with_too_few_of_a_class_falls_back_to_all_texts(rare):
    common, few = 20, 19
    machine = np.array([rare] * few + [not rare] * common + [True, False] * common)
    languages = ["deu"] * (few + common) + ["eng"] * 2 * common
    scores = np.random.default_rng(0).normal(size=len(machine))
    found = calibrate(scores, machine, languages, fewest_per_class=20)
    assert set(found.by_language) == {"eng"}
    assert found.of("deu") == found.of("unknown") == found.all_texts
    enough = calibrate(scores, machine, languages, fewest_per_class=few)
    assert set(enough.by_language) == {"deu", "eng"}


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(ValueError, match="got 2 human texts only"):
        youden_threshold([1.0, 2.0], [False, False])
    with pytest.raises(ValueError, match="1 scores are not finite"):
        youden_threshold([1.0, math.nan], [False, True])
    with pytest.raises(ValueError, match="one a text"):
        youden_threshold([1.0], [False, True])
    with pytest.raises(ValueError, match="2 scores, but 1 languages"):
        calibrate([1.0, 2.0], [False, True], ["eng"], fewest_per_class=20)
