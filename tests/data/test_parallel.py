"""Multi-parallel text: the same segments in every language, and every problem told."""

import pytest

from ksl_bench.data.controlled import controlled_pairs
from ksl_bench.data.parallel import read_parallel
from ksl_bench.errors import DataError


def read(location, languages, *, split="devtest", size=None, seed=0):
    return read_parallel(location, languages, split=split, size=size, seed=seed)


@pytest.fixture
def folder(tmp_path):
    for language, text in (("eng", "one\ntwo\nthree\n"), ("cat", "u\ndos\ntres\n")):
        for split in ("train", "devtest"):
            (tmp_path / f"{split}.{language}").write_text(text, encoding="utf-8")
    (tmp_path / "devtest.dan").write_text("en\nto\ntre\n", encoding="utf-8")
    return str(tmp_path)


def test_controlled_segments_say_what_the_pairs_say():
    found = read("controlled", ("eng", "cat", "dan"), size=20)
    for source, target in (("eng", "cat"), ("cat", "dan")):
        pairs = [(one[source], one[target]) for one in found.segments]
        assert pairs == controlled_pairs(source, target, split="devtest", size=20, seed=0)


def test_a_folder_gives_every_line_in_every_language(folder):
    found = read(folder, ("cat", "eng", "dan"), size=2)
    assert found.segments == (
        {"cat": "u", "eng": "one", "dan": "en"},
        {"cat": "dos", "eng": "two", "dan": "to"},
    )
    assert found.available == 3


def test_files_by_language_are_aligned_by_line(folder):
    files = (("eng", f"{folder}/train.eng"), ("cat", f"{folder}/train.cat"))
    assert read(files, ("cat", "eng")).segments[2] == {"cat": "tres", "eng": "three"}


def test_training_segments_are_a_permutation_by_seed(folder):
    small = read(folder, ("eng", "cat"), split="train", size=2, seed=3).segments
    whole = read(folder, ("eng", "cat"), split="train", size=3, seed=3).segments
    assert whole[:2] == small
    assert {one["eng"] for one in whole} == {"one", "two", "three"}


@pytest.mark.parametrize(
    ("languages", "size", "said"),
    [
        (("eng", "fra"), None, "no language fra in devtest; there is cat, dan, eng"),
        (("eng", "cat"), 4, "4 devtest segments wanted, but 3 available"),
    ],
)
def test_what_is_not_there_is_told(folder, languages, size, said):
    with pytest.raises(DataError, match=said):
        read(folder, languages, size=size)


def test_a_language_without_a_file_and_a_short_file_are_told(folder, tmp_path):
    (tmp_path / "short").write_text("u\n", encoding="utf-8")
    files = (("eng", f"{folder}/train.eng"), ("cat", str(tmp_path / "short")))
    with pytest.raises(DataError, match="no devtest file of dan; there is eng, cat"):
        read(files, ("eng", "dan"))
    with pytest.raises(DataError, match="short"):
        read(files, ("eng", "cat"))


def test_a_folder_that_is_none_is_told():
    with pytest.raises(DataError, match="no such folder"):
        read("/nowhere/at/all", ("eng", "cat"))


@pytest.mark.shared_data
def test_four_languages_of_flores(shared_data):
    found = read(str(shared_data / "flores101_devtest"), ("eng", "cat", "dan", "spa"))
    assert found.available == len(found.segments) == 1012
    assert set(found.segments[0]) == {"eng", "cat", "dan", "spa"}
