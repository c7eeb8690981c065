"""What a schedule runs each time: finished work is never repeated, so each time must name something new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from ksl_bench.config import LARGEST_SEED, Suite
from ksl_bench.errors import ConfigError

SEEDS_A_DAY = 100


def with_new_seeds(suite: Suite, offset: str) -> Suite:
    """Return a suite under seeds of its own, and a name that says so.

    Args:
        suite: What is run again.
        offset: A number that is added to every seed, or `today`: the date as YYYYMMDD00.

    Raises:
        ConfigError: If it is neither.
    """
    seeds, label = new_seeds(suite.seeds, offset)
    return suite.model_copy(update={"name": f"{suite.name}.{label}", "seeds": seeds})


def new_seeds(
    seeds: Sequence[int], offset: str, *, today: date | None = None
) -> tuple[tuple[int, ...], str]:
    """Return seeds moved by an offset, and what a suite's name is to add; see `with_new_seeds`."""
    if offset == "today":
        day = today or datetime.now(UTC).date()
        if max(seeds) >= SEEDS_A_DAY:
            raise ConfigError(
                f"--seed-offset: today leaves room for seeds below {SEEDS_A_DAY}, got {max(seeds)}"
            )
        number, label = int(day.strftime("%Y%m%d")) * SEEDS_A_DAY, day.isoformat()
    elif offset.isascii() and offset.isdecimal():
        number, label = int(offset), f"seeds-{offset}"
    else:
        raise ConfigError(
            f"--seed-offset: must be `today` or a number of 0 or more, got {offset!r}"
        )
    if max(seeds) + number > LARGEST_SEED:
        raise ConfigError(
            f"--seed-offset: must leave seeds of at most {LARGEST_SEED}, got {offset} for {max(seeds)}"
        )
    return tuple(seed + number for seed in seeds), label
