"""Every fault: nothing finished is lost, nothing is made twice, the leaderboard is the same."""

import pytest

from tests.faults.table import FAULTS, disk_is_possible, end_shared, undisturbed

pytestmark = pytest.mark.slow

AT_THE_GATE = {"a worker is killed"}
"""The rest of the table takes a quarter of an hour, and is for the night."""
assert FAULTS.keys() >= AT_THE_GATE


@pytest.fixture(scope="module")
def wanted():
    yield undisturbed()
    end_shared()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in AT_THE_GATE else pytest.mark.nightly)
        for name in FAULTS
    ],
)
def test_nothing_is_lost_and_nothing_repeated(name, wanted, tmp_path):
    if name == "the disk is full" and not disk_is_possible():
        pytest.skip("no file system can be mounted here")
    row = FAULTS[name](tmp_path, wanted)
    assert (row.lost, row.repeated, row.same) == (0, 0, True), row
    assert row.finished >= 6
