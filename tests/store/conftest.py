"""The store under test: in a folder, in memory, and on a real S3 server on loopback."""

import logging
import uuid

import fsspec
import pytest

from ksl_bench.store import Store


@pytest.fixture(scope="session")
def bucket():
    """A bucket of moto's server, in a thread of this process, as a URI."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("results-of-tests")
        yield "s3://results-of-tests"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


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
