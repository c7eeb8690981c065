"""Seeds of what a schedule runs again."""

from datetime import date

import pytest

from ksl_bench.errors import ConfigError
from ksl_bench.space import load_space
from ksl_bench.suite import load_suite, new_seeds, with_new_seeds


def test_today_gives_seeds_and_a_name_of_the_day():
    assert new_seeds((0, 7), "today", today=date(2026, 11, 23)) == (
        (2026112300, 2026112307),
        "2026-11-23",
    )


def test_two_days_never_share_a_seed():
    first, _ = new_seeds(tuple(range(100)), "today", today=date(2026, 11, 23))
    second, _ = new_seeds(tuple(range(100)), "today", today=date(2026, 11, 24))
    assert not set(first) & set(second)


def test_a_number_is_added():
    suite = with_new_seeds(load_suite("quickstart", ["seeds=[0, 1]"]), "10")
    assert (suite.name, suite.seeds) == ("quickstart.seeds-10", (10, 11))


def test_a_space_takes_it_too():
    space = load_space("selection_size", ["space.seeds=[0, 1]"], seed_offset="10")
    assert (space.spec.name, space.spec.seeds) == ("selection_size.seeds-10", (10, 11))
    assert space.suite.seeds == (10, 11)


@pytest.mark.parametrize("offset", ["tomorrow", "-1", "1.5", ""])
def test_anything_else_is_refused(offset):
    with pytest.raises(ConfigError, match="--seed-offset: must be"):
        new_seeds((0,), offset)


def test_seeds_stay_what_generators_take():
    assert new_seeds((0, 5), str(2**32 - 6))[0] == (2**32 - 6, 2**32 - 1)
    with pytest.raises(ConfigError, match=r"--seed-offset: must leave seeds of at most 4294967295"):
        new_seeds((0, 6), str(2**32 - 6))


def test_a_seed_that_would_reach_into_the_next_day_is_refused():
    with pytest.raises(ConfigError, match="below 100"):
        new_seeds((100,), "today")
