"""Submissions that are refused before anything is sent."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "quickstar"], "quickstart"),
        (["run", "quickstart", "--set", "train.steps=0"], "train.steps"),
        (["run", "quickstart", "--nonsense"], "--nonsense"),
        (["run"], "Missing argument"),
        (["run", "quickstart", "--address", "auto"], "--address: belongs before `-- run`"),
        (["sweep", "selection_siz"], "selection_size"),
        (["sweep", "selection_size", "--seed-offset", "tomorrow"], "--seed-offset: must be"),
        (["train", "quickstart"], "train"),
    ],
)
def test_a_wrong_command_is_refused_as_if_it_were_run_here(ksl, arguments, said):
    done = ksl("submit", "--address", "http://127.0.0.1:9", "--", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_a_suite_outside_the_working_directory_is_refused(ksl, tmp_path):
    from ksl_bench.suite import find_file

    own = tmp_path / "elsewhere/own.yaml"
    own.parent.mkdir()
    own.write_text(find_file("suite", "quickstart").read_text())
    (tmp_path / "work").mkdir()
    done = ksl("submit", "--", "run", str(own), cwd=tmp_path / "work")
    assert done.returncode == 2
    assert "does not go along" in done.stderr


@pytest.fixture
def token(tmp_path, monkeypatch):
    """A token of this test alone: a fresh machine has none."""
    path = tmp_path / "auth_token"
    path.write_text("0" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


def test_a_missing_token_is_one_line(ksl, token):
    token.write_text("")
    done = ksl("submit", "--address", "http://127.0.0.1:9", "--", "run", "quickstart")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Ray's token is missing here; put the cluster's into ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("token")
def test_a_server_that_does_not_answer_is_one_line(ksl):
    done = ksl("submit", "--address", "http://127.0.0.1:9", "--", "run", "quickstart")
    assert done.returncode == 2
    assert done.stderr == "error: --address: no Ray job server answers at http://127.0.0.1:9\n"


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("verb", ["status", "logs", "stop"])
def test_so_it_is_for_a_job(ksl, verb):
    done = ksl("submit", verb, "some-job", "--address", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert "no Ray job server answers" in done.stderr
