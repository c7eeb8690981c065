"""What of a working directory goes along with a job."""

import subprocess
import zipfile

import pytest

from ksl_bench.errors import ConfigError
from ksl_bench.jobs import package
from ksl_bench.jobs.package import write_package


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "work"
    for name in (
        "mine.yaml",
        "baselines/own.yaml",
        "data/train.tsv",
        "data/huge.tsv",
        "ksl-results/states/x/state.json",
        "model.safetensors",
        ".venv/bin/python",
        "__pycache__/a.pyc",
    ):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return place


def packed(folder, tmp_path, **options):
    target = tmp_path / "package.zip"
    count = write_package(folder, target, **options)
    with zipfile.ZipFile(target) as one:
        assert len(one.namelist()) == count
        return set(one.namelist())


def tracked_by_git(folder, *, ignored):
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text(ignored)


def test_suites_and_small_data_go_results_weights_and_environments_stay(folder, tmp_path):
    assert packed(folder, tmp_path, exclude=["data/huge.tsv"]) == {
        "mine.yaml",
        "baselines/own.yaml",
        "data/train.tsv",
    }


def test_an_excluded_folder_stays_with_all_in_it(folder, tmp_path):
    assert packed(folder, tmp_path, exclude=["data"]) == {"mine.yaml", "baselines/own.yaml"}


def test_what_git_ignores_stays(folder, tmp_path):
    tracked_by_git(folder, ignored="data/\n")
    assert packed(folder, tmp_path) == {"mine.yaml", "baselines/own.yaml"}


def test_what_git_ignores_stays_even_if_that_is_all(folder, tmp_path):
    tracked_by_git(folder, ignored="*\n")
    assert packed(folder, tmp_path) == set()
    assert packed(folder / "data", tmp_path) == set()


@pytest.mark.parametrize("inside", [".", "data"])
def test_a_work_tree_that_git_does_not_open_is_refused_with_gits_own_line(
    folder, tmp_path, monkeypatch, inside
):
    tracked_by_git(folder, ignored="data/\n")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("LC_ALL", "C")
    with pytest.raises(ConfigError, match=r"--working-dir: .* dubious ownership [^\n]*$"):
        write_package(folder / inside, tmp_path / "a.zip")


def test_a_work_tree_is_refused_where_git_is_not_installed(folder, tmp_path, monkeypatch):
    tracked_by_git(folder, ignored="data/\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="git cannot be run here: No such file or directory"):
        write_package(folder, tmp_path / "a.zip")


def test_a_folder_of_no_work_tree_needs_no_git(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "data/train.tsv" in packed(folder, tmp_path)


def test_a_link_out_of_the_folder_stays(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    (folder / "link.yaml").symlink_to(tmp_path / "secret")
    assert "link.yaml" not in packed(folder, tmp_path)


def test_the_same_files_are_the_same_package(folder, tmp_path):
    write_package(folder, tmp_path / "a.zip")
    (folder / "mine.yaml").touch()
    write_package(folder, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_too_much_is_refused_and_names_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "LIMIT_BYTES", 20)
    with pytest.raises(ConfigError, match=r"--working-dir: .* holds more than .*--exclude"):
        write_package(folder, tmp_path / "a.zip")


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        write_package(tmp_path / "none", tmp_path / "a.zip")
