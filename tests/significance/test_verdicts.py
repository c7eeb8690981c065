import numpy as np
import pytest

from ksl_bench.significance.intervals import Interval
from ksl_bench.significance.verdicts import non_inferiority


def interval(low, high):
    return Interval((low + high) / 2, low, high, 4.0, 1.0, 1.0, 0.0, 0.0, "seeds and sentences")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.4, 0.6, "non_inferior"),
        (0.2, 0.6, "non_inferior"),
        (-0.9, -0.3, "inconclusive"),
        (-0.5, 0.3, "inconclusive"),
        (-2.0, -0.5, "inconclusive"),
        (-2.0, -0.6, "worse"),
        (-2.0, 2.0, "inconclusive"),
        (0.0, 0.0, "non_inferior"),
    ],
)
def test_an_interval_is_judged_by_where_it_lies_about_the_margin(low, high, verdict):
    assert non_inferiority(interval(low, high), 0.5) == verdict


@pytest.mark.parametrize("margin", [0.0, -1.0, np.nan])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(ValueError, match="margin must be > 0"):
        non_inferiority(interval(-1, 1), margin)
