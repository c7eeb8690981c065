"""`leaderboard --format html` and `--output`."""

import json

import pytest


def test_html_of_one_suite_goes_to_a_file(ksl, bench, tmp_path):
    path = tmp_path / "mine.html"
    root = bench.store.root
    done = ksl("leaderboard", "mine", "--storage", root, "--format", "html", "--output", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"wrote {path}\n"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_one_stored_suite_needs_no_name(ksl, bench):
    done = ksl("leaderboard", "--storage", bench.store.root, "--format", "html")
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")


@pytest.mark.parametrize("format_", ["html", "json", "csv"])
def test_several_suites_want_a_name(ksl, bare, format_):
    plan = bare.store.plans.read("mine")
    bare.store.plans.write("other", plan)
    done = ksl("leaderboard", "--storage", bare.store.root, "--format", format_)
    bare.store.files.remove("suites/other.json")
    assert done.returncode != 0
    assert done.stderr == f"error: --format {format_}: name one suite of mine, other\n"


def test_every_format_goes_to_a_file(ksl, bare, tmp_path):
    for format_ in ("table", "json", "csv", "markdown", "latex"):
        path = tmp_path / format_
        arguments = ("--storage", bare.store.root, "--format", format_)
        ksl("leaderboard", "mine", *arguments, "--output", str(path))
        assert path.read_text(encoding="utf-8") == ksl("leaderboard", "mine", *arguments).stdout
    assert len(json.loads((tmp_path / "json").read_text(encoding="utf-8"))) == 2


def test_a_file_that_cannot_be_written_is_one_line(ksl, bare, tmp_path):
    path = tmp_path / "none" / "x.csv"
    arguments = ("--storage", bare.store.root, "--format", "csv", "--output", str(path))
    done = ksl("leaderboard", "mine", *arguments)
    assert done.stderr == f"error: --output: cannot write {path}: No such file or directory\n"


def test_an_unknown_format_names_all(ksl, bare):
    done = ksl("leaderboard", "mine", "--storage", bare.store.root, "--format", "htm")
    assert done.returncode != 0
    assert done.stderr == (
        "error: unknown format 'htm'. Did you mean 'html'? "
        "Known: csv, html, json, latex, markdown, table\n"
    )
