"""The store under test: in a folder, in memory, and on a real S3 server on loopback."""

import uuid

import pytest

from ksl_bench.store import Store


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "folder":
        return Store(str(tmp_path / "results"))
    if request.param == "memory":
        return Store(f"memory://{uuid.uuid4().hex}/results")
    return Store(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")


@pytest.fixture
def local(tmp_path):
    return Store(str(tmp_path / "results"))
