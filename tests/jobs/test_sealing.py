"""Secrets on their way to a job: only a holder of the token reads them."""

import pytest

from ksl_bench.auth import ray_token
from ksl_bench.errors import ClusterError
from ksl_bench.jobs.sealing import SEALED, seal, unseal, unseal_environment

VALUES = {"HF_TOKEN": "hf_secret", "AWS_SECRET_ACCESS_KEY": "k/ey=+ü"}


def test_what_was_sealed_is_read_with_the_same_token_and_with_no_other():
    text = seal(VALUES, "token")
    assert unseal(text, "token") == VALUES
    assert "hf_secret" not in text
    with pytest.raises(ClusterError, match="another token"):
        unseal(text, "Token")


def test_the_same_values_never_look_the_same():
    assert seal(VALUES, "token") != seal(VALUES, "token")


@pytest.mark.parametrize("broken", ["", "x", "AAAA", seal(VALUES, "token")[:-4]])
def test_what_is_broken_is_refused(broken):
    with pytest.raises(ClusterError):
        unseal(broken, "token")


def test_a_job_puts_them_into_its_environment_and_forgets_the_seal(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token")
    monkeypatch.setenv("HF_TOKEN", "before")
    monkeypatch.setenv(SEALED, seal({"HF_TOKEN": "hf_secret"}, "token"))
    unseal_environment()
    import os

    assert os.environ["HF_TOKEN"] == "hf_secret"
    assert SEALED not in os.environ


def test_without_a_token_the_seal_cannot_be_opened(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv(SEALED, "x")
    with pytest.raises(ClusterError, match="there is none here"):
        unseal_environment()


def test_the_token_is_found_where_ray_looks_for_it(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ray_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("of home\n")
    assert ray_token() == "of home"
    (tmp_path / "named").write_text("of path\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "named"))
    assert ray_token() == "of path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert ray_token() == "given"
