"""What is secret, and how it is kept out of what is shown."""

import pytest

from ksl_bench.auth import is_secret, masked


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://u:p@host/db", "postgresql://***@host/db"),
        ("postgresql://u:p/q@host/db", "postgresql://***@host/db"),
        ("postgresql://u:p@q@host/db", "postgresql://***@host/db"),
        ("postgresql://u:p@q/r@host/db", "postgresql://***@host/db"),
        ("redis://:p#q?r@host", "redis://***@host"),
        ("https://token@host/x", "https://***@host/x"),
        (
            "no 'http://u:p@one:1/a', no 'http://two/b'",
            "no 'http://***@one:1/a', no 'http://two/b'",
        ),
    ],
)
def test_users_and_passwords_are_masked_whatever_they_hold(uri, shown):
    assert masked(uri) == shown
    assert is_secret("ANY", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://host/a@b",
        "http://host:5000/a",
        "http://host?mail=a@b",
        "hf://owner/name@main?config=a:b",
        "sqlite:////home/a@b/mlflow.db",
        "a@b",
    ],
)
def test_an_at_that_is_no_users_is_left(uri):
    assert masked(uri) == uri
    assert not is_secret("ANY", uri)


def test_where_a_port_could_be_a_password_it_is_masked():
    assert masked("http://host:5000/a@b") == "http://***@b"
