"""The command that a job runs: the storage spelled out, no secret in sight."""

import shlex
import sys

import pytest

from ksl_bench.errors import ConfigError
from ksl_bench.jobs.command import Command, entrypoint, is_here, split_environment


def make(*arguments: str, storage: str | None = None) -> Command:
    return Command("run", "quickstart", ("quickstart", *arguments), storage)


def test_a_head_on_this_machine_gets_this_interpreter_and_an_absolute_storage(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(entrypoint(make("--set", "seeds=[0, 1]"), here=True))
    assert words == [
        sys.executable,
        *("-m", "ksl_bench.cli", "run", "quickstart", "--set", "seeds=[0, 1]"),
        *("--storage", str(tmp_path / "ksl-results"), "--address", "auto"),
    ]


def test_a_given_storage_is_not_said_twice():
    words = shlex.split(entrypoint(make("--storage", "s3://b/r", storage="s3://b/r"), here=False))
    assert words.count("s3://b/r") == 1
    assert words[0] == "python"


def test_a_relative_storage_given_to_the_command_is_overridden_by_the_absolute_one(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(entrypoint(make("--storage", "here", storage="here"), here=True))
    assert words[-4:] == ["--storage", str(tmp_path / "here"), "--address", "auto"]


@pytest.mark.parametrize("storage", [None, "results", "./results"])
def test_a_cluster_elsewhere_needs_a_storage_that_all_nodes_see(storage):
    with pytest.raises(ConfigError, match="must be a URI, or an absolute path"):
        entrypoint(make(storage=storage), here=False)


@pytest.mark.parametrize("storage", ["/mnt/shared/results", "s3://bucket/results"])
def test_shared_places_are_taken_as_they_are(storage):
    assert storage in shlex.split(entrypoint(make(storage=storage), here=False))


def test_a_password_in_an_argument_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match=r"tracking.uri=http://\*\*\*@mlflow") as caught:
        entrypoint(make("--set", "tracking.uri=http://me:pass@mlflow"), here=True)
    assert "pass@" not in str(caught.value)


def test_a_password_in_the_environments_storage_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match=r"^s3://\*\*\*@bucket/results: everyone") as caught:
        entrypoint(make(storage="s3://me:pass/word@bucket/results"), here=False)
    assert "pass" not in str(caught.value).replace("this password", "")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "http://localhost:8265", "auto"])
def test_loopback_is_here(address):
    assert is_here(address)


def test_another_machine_is_not_here():
    assert not is_here("http://203.0.113.7:8265")


def test_secrets_are_told_apart_by_name_and_by_what_they_hold():
    environment = {
        "HF_TOKEN": "a",
        "MLFLOW_TRACKING_URI": "http://me:pass@mlflow",
        "NCCL_DEBUG": "INFO",
        "REST": "x",
    }
    plain, secret = split_environment(
        ["HF_TOKEN", "MLFLOW_TRACKING_URI", "NCCL_DEBUG"], environment
    )
    assert plain == {"NCCL_DEBUG": "INFO"}
    assert secret.keys() == {"HF_TOKEN", "MLFLOW_TRACKING_URI"}


def test_a_variable_that_is_not_set_is_refused():
    with pytest.raises(ConfigError, match="--env: NOT_SET is not set here"):
        split_environment(["NOT_SET"], {})
