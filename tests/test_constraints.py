"""The versions that `make install` and the image take: pinned, for all that they install."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]


def needed(
    requirements: Iterable[str], extras: set[str], seen: set[tuple[str, str]]
) -> Iterator[str]:
    """Yield the names of all installed packages that requirements lead to, for some extras of theirs."""
    for one in map(Requirement, requirements):
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        name = canonicalize_name(one.name)
        wanted = {extra for extra in ("", *one.extras) if (name, extra) not in seen}
        if not wanted:
            continue
        seen |= {(name, extra) for extra in wanted}
        try:
            rest = requires(name) or []
        except PackageNotFoundError:  # of an extra that is not installed here
            continue
        yield name
        yield from needed(rest, wanted, seen)


def test_every_package_that_an_installation_takes_is_pinned_exactly():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    direct = chain(project["dependencies"], *project["optional-dependencies"].values())
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
    wanted = set(needed(direct, {""}, set()))
    assert {"torch", "moto", "botocore"} <= wanted
    assert sorted(wanted - pinned) == []
