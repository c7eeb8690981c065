import hashlib
import json
import random
import sys
import types

import pytest

from ksl_bench.data.corpus import Pair, digest_of, read_corpus
from ksl_bench.data.languages import language_name, to_iso6391, to_iso6393
from ksl_bench.errors import DataError

HEADER = "{}:1: looks like a header, which needs `columns` to name its two"
EXPECTED = (Pair("Good day.", "Bon dia."), Pair("The dog.", "El gos."))


def read(location, **changes):
    options = {
        "source_language": "eng",
        "target_language": "cat",
        "split": "train",
        "size": None,
        "seed": 0,
        "columns": None,
    }
    return read_corpus(location, **{**options, **changes})


def problems(location, **changes):
    with pytest.raises(DataError) as caught:
        read(location, **changes)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


@pytest.fixture
def write(tmp_path):
    """Write a file from text or bytes, and return its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


# Aligned files.


def test_two_aligned_files(write):
    location = write("a.eng", "Good day.\nThe dog.\n"), write("a.cat", "Bon dia.\nEl gos.")
    corpus = read(location)
    assert corpus.pairs == EXPECTED
    assert corpus.available == 2
    assert corpus.origin == f"{location[0]} + {location[1]}"


def test_several_pairs_of_files_in_order(write):
    one = write("1.eng", "Good day."), write("1.cat", "Bon dia.")
    two = write("2.eng", "The dog."), write("2.cat", "El gos.")
    assert read((one, two)).pairs == EXPECTED
    assert read((two, one)).pairs == EXPECTED[::-1]
    assert read((one,)).pairs == EXPECTED[:1]


@pytest.mark.parametrize("inside", ["\u0085", "\u2028", "\x0b", "\x0c", "\x1c", "\r"])
def test_lines_end_at_newlines_alone(write, inside):
    location = write("a.eng", f"one{inside}two\nthree\n"), write("a.cat", "un\ntres\n")
    assert [pair.source for pair in read(location).pairs] == [f"one{inside}two", "three"]


def test_carriage_returns_and_byte_order_marks_are_no_text(write):
    location = write("a.eng", b"\xef\xbb\xbfone\r\ntwo\r\n"), write("a.cat", "un \n dos\n")
    assert read(location).pairs == (Pair("one", "un "), Pair("two", " dos"))


def test_repeated_and_untranslated_pairs_are_kept(write):
    path = write("a.eng", "same\nsame\n")
    assert read((path, path)).pairs == (Pair("same", "same"),) * 2


def test_unequal_lengths_name_both_counts(write):
    one, other = write("a.eng", "1\n2\n3\n"), write("a.cat", "1\n2\n")
    assert problems((one, other)) == (f"{one} has 3 lines, but {other} has 2",)


def test_empty_segments_are_told_and_counted(write):
    one, other = write("a.eng", "1\n2\n3\n4\n5\n"), write("a.cat", "\n \n3\n\t\n\n")
    assert problems((one, other)) == (
        f"{other}:1: empty segment",
        f"{other}:2: empty segment",
        f"{other}:4: empty segment",
        f"{other}: 4 empty segments in all",
    )


def test_a_second_newline_at_the_end_is_an_empty_segment(write):
    one, other = write("a.eng", "1\n\n"), write("a.cat", "1\n2\n")
    assert problems((one, other)) == (f"{one}:2: empty segment",)


def test_what_is_not_utf8_is_located(write):
    one, other = write("a.eng", b"1\n2\nca\xe7a\n"), write("a.cat", "1\n2\n3\n")
    assert problems((one, other)) == (f"{one}:3: not UTF-8, at byte 6 of the file",)


def test_all_problems_of_a_location_are_told_together(write, tmp_path):
    missing, empty = str(tmp_path / "missing"), write("empty", "")
    short, longer = write("short", "1\n"), write("longer", "1\n\n")
    assert problems(((missing, empty), (short, longer))) == (
        f"{missing}: no such file",
        f"{empty}: empty file",
        f"{longer}:2: empty segment",
        f"{short} has 1 lines, but {longer} has 2",
    )


def test_a_folder_is_no_aligned_file(write, tmp_path):
    assert problems((str(tmp_path), write("a", "1"))) == (
        f"{tmp_path}: cannot be read: Is a directory",
    )


# TSV.


def test_tsv_without_a_header(write):
    corpus = read(write("a.tsv", 'Good day.\tBon dia.\nThe "dog.\tEl gos.\tbook 1\n'))
    assert corpus.pairs == (EXPECTED[0], Pair('The "dog.', "El gos.", "book 1"))


def test_tsv_with_a_header(write):
    path = write(
        "a.tsv", "id\tca\ten\tdocument\n1\tBon dia.\tGood day.\td\n2\tEl gos.\tThe dog.\t\n"
    )
    assert read(path, columns=("en", "ca")).pairs == (
        Pair("Good day.", "Bon dia.", "d"),
        Pair("The dog.", "El gos.", None),
    )


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        ("a\tb\nc\n", None, ["{}:2: 1 columns, but 2 or 3 are allowed"]),
        ("a\tb\n1\t2\t3\t4\n", None, ["{}:2: 4 columns, but 2 or 3 are allowed"]),
        ("a\tb\nc\t\n", None, ["{}:2: empty segment in target"]),
        ("source\ttarget\na\tb\n", None, [HEADER]),
        ("eng\tcat\na\tb\n", None, [HEADER]),
        ("en\tca\na\tb\nc\n", ("en", "ca"), ["{}:3: 1 columns, but the header has 2"]),
        ("en\tes\na\tb\n", ("en", "ca"), ["{}:2: no columns en and ca; there are en, es"]),
        ("en\tca\n", ("en", "ca"), ["{}: no pairs"]),
        ("", None, ["{}: empty file"]),
    ],
)  # fmt: skip
def test_broken_tsv(write, content, columns, expected):
    path = write("a.tsv", content)
    assert problems(path, columns=columns) == tuple(line.format(path) for line in expected)


# JSONL.


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("eng", "cat"), None),
        (("en", "ca"), None),
        (("source", "target"), None),
        (("english", "catalan"), ("english", "catalan")),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_jsonl_finds_its_columns(write, names, columns, nested):
    rows = [dict(zip(names, (pair.source, pair.target), strict=True)) for pair in EXPECTED]
    rows = [{"translation": row, "id": 1} if nested else row for row in rows]
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read(path, columns=columns).pairs == EXPECTED


def test_jsonl_prefers_the_code_as_it_stands(write):
    row = {"zho": "wrong", "zho_Hant": "臺灣", "eng": "Taiwan", "document": 7}
    path = write("a.jsonl", json.dumps(row))
    corpus = read(path, target_language="zho_Hant")
    assert corpus.pairs == (Pair("Taiwan", "臺灣", "7"),)


def test_broken_jsonl_is_told_line_by_line(write):
    rows = ['{"en": "a", "ca": "b"}', "{", "[1]", '{"en": "a"}', '{"en": 1, "ca": " "}', ""]
    path = write("a.jsonl", "\n".join(rows) + "\n")
    assert problems(path) == (
        f"{path}:2: not JSON",
        f"{path}:3: must be an object, got list",
        f"{path}:6: not JSON",
        f"{path}:4: ca must be text, got nothing",
        f"{path}:5: en must be text, got int",
        f"{path}:5: empty segment in ca",
    )


def test_a_missing_column_names_those_there_are(write):
    path = write("a.jsonl", '{"translation": {"en": "a", "es": "b"}}')
    assert problems(path) == (
        f"{path}:1: no columns eng and cat or eng and ca or en and cat or en and ca or source and "
        "target; there are translation, translation.en, translation.es",
    )


# Folders.


@pytest.mark.parametrize(
    "form", ["{split}/{code}.{split}", "{split}/{code}_Latn.{split}", "{split}.{code}"]
)
def test_the_forms_of_flores(write, tmp_path, form):
    for split in ("dev", "devtest"):
        write(form.format(split=split, code="eng"), f"{split} one\ntwo\n")
        write(form.format(split=split, code="cat"), "un\ndos\n")
    write("README", "not a language")
    for split in ("dev", "devtest"):
        corpus = read(str(tmp_path), split=split)
        assert corpus.pairs == (Pair(f"{split} one", "un"), Pair("two", "dos"))


def test_the_nested_form_goes_before_the_flat_one(write, tmp_path):
    for code in ("eng", "cat"):
        write(f"dev/{code}.dev", "nested")
        write(f"dev.{code}", "flat")
    assert read(str(tmp_path), split="dev").pairs == (Pair("nested", "nested"),)


def test_a_script_is_asked_for_where_there_are_several(write, tmp_path):
    for code in ("eng_Latn", "zho_Hans", "zho_Hant"):
        write(f"dev/{code}.dev", code)
    assert problems(str(tmp_path), split="dev", target_language="zho") == (
        f"{tmp_path}: zho comes in several scripts, name one of zho_Hans, zho_Hant",
    )
    corpus = read(str(tmp_path), split="dev", target_language="zho_Hant")
    assert corpus.pairs == (Pair("eng_Latn", "zho_Hant"),)


def test_missing_languages_name_those_there_are(write, tmp_path):
    write("dev.spa", "1")
    write("dev.dan", "1")
    assert problems(str(tmp_path), split="dev") == (
        f"{tmp_path}: no language eng in dev; there is dan, spa",
        f"{tmp_path}: no language cat in dev; there is dan, spa",
    )


def test_a_missing_split_names_those_there_are(write, tmp_path):
    write("dev.eng", "1")
    write("devtest.eng", "1")
    assert problems(str(tmp_path)) == (f"{tmp_path}: no train split; there is dev, devtest",)


def test_a_folder_with_nothing_to_recognise(write, tmp_path):
    write("notes.txt", "1")
    assert problems(str(tmp_path)) == (
        f"{tmp_path}: no train split: neither train/LANGUAGE.train nor train.LANGUAGE is there",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.txt", "must be a .tsv or .jsonl file"), ("y.txt", "no such file or folder")],
)
def test_other_locations(write, tmp_path, name, expected):
    write("x.txt", "1")
    (problem,) = problems(str(tmp_path / name))
    assert problem.startswith(f"{tmp_path / name}: {expected}")


# Sampling and the digest.


@pytest.fixture
def hundred(write):
    text = "".join(f"{number}\n" for number in range(100))
    return write("a.eng", text), write("a.cat", text)


def test_train_is_a_seeded_sample_and_nested(hundred):
    small, large = (read(hundred, size=size, seed=7) for size in (10, 60))
    assert large.pairs[:10] == small.pairs
    assert len(set(large.pairs)) == 60
    assert small.available == 100
    assert read(hundred, size=10, seed=8).pairs != small.pairs
    order = list(range(100))
    random.Random(7).shuffle(order)  # the documented generator: a sample must not change silently
    assert [int(pair.source) for pair in small.pairs] == order[:10]


@pytest.mark.parametrize("split", ["dev", "devtest"])
def test_other_splits_take_the_first(hundred, split):
    corpus = read(hundred, split=split, size=3, seed=7)
    assert [pair.source for pair in corpus.pairs] == ["0", "1", "2"]


def test_all_pairs_stay_in_order(hundred):
    assert [int(pair.source) for pair in read(hundred).pairs] == list(range(100))


def test_more_than_there_are_is_an_error(hundred):
    (problem,) = problems(hundred, size=101)
    assert problem.endswith("101 train pairs wanted, but 100 available")


def test_the_digest_is_sha256_over_framed_segments():
    stream = b"\x00\x00\x00\x00\x00\x00\x00\x01a" + b"\x00\x00\x00\x00\x00\x00\x00\x02\xc3\xa9"
    assert digest_of([Pair("a", "é")]) == hashlib.sha256(stream).hexdigest()
    assert digest_of([Pair("a", "é", "book")]) == digest_of([Pair("a", "é")])


def test_the_digest_tells_apart_what_differs():
    lists = [
        [],
        [Pair("a", "b")],
        [Pair("b", "a")],
        [Pair("ab", "")],
        [Pair("a", "b"), Pair("c", "d")],
        [Pair("c", "d"), Pair("a", "b")],
        [Pair("a", "bc"), Pair("", "d")],
        [Pair("a\nb", "c\nd")],
    ]
    assert len({digest_of(pairs) for pairs in lists}) == len(lists)


def test_the_digest_is_of_what_is_used_not_of_where_it_was(write):
    aligned = read((write("a.eng", "Good day.\nThe dog.\n"), write("a.cat", "Bon dia.\nEl gos.\n")))
    table = read(write("a.tsv", "Good day.\tBon dia.\nThe dog.\tEl gos.\n"))
    assert aligned.digest == table.digest == digest_of(EXPECTED)
    assert read(write("b.tsv", "Good day.\tBon dia.\n")).digest != aligned.digest


def test_an_unknown_split():
    assert problems("controlled", split="test") == (
        "unknown split 'test'. Known: train, dev, devtest",
    )


# The embedded corpus.


@pytest.mark.parametrize(("split", "default"), [("train", 2000), ("dev", 200), ("devtest", 200)])
def test_the_embedded_corpus_is_asked_for_what_is_used(monkeypatch, split, default):
    calls = []

    def controlled_pairs(source, target, *, split, size, seed):
        calls.append((source, target, split, size, seed))
        return [(f"s{number}", f"t{number}") for number in range(size)]

    module = types.ModuleType("ksl_bench.data.controlled")
    module.controlled_pairs = controlled_pairs
    monkeypatch.setitem(sys.modules, "ksl_bench.data.controlled", module)
    corpus = read("controlled", split=split, seed=3)
    assert calls == [("eng", "cat", split, default, 3)]
    assert (len(corpus.pairs), corpus.pairs[1]) == (default, Pair("s1", "t1"))
    assert len(read("controlled", split=split, size=5).pairs) == 5


# Hugging Face datasets.


@pytest.fixture
def dataset(write, tmp_path, monkeypatch):
    """A dataset in a folder; the library's caches are in another."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    rows = [{"id": 1, "translation": {"en": one.source, "ca": one.target}} for one in EXPECTED]
    for name, number in (("train", 2), ("validation", 1)):
        write(f"set/{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:number]))
    yield f"hf://{tmp_path / 'set'}"
    datasets.enable_progress_bars()


def test_a_dataset_by_its_splits(dataset):
    assert read(dataset).pairs == EXPECTED
    assert read(dataset, split="dev").pairs == EXPECTED[:1]
    assert read(f"{dataset}?split=train", split="dev").pairs == EXPECTED
    assert problems(dataset, split="devtest") == (
        f"{dataset}: no split devtest or test; there is train, validation",
    )


def test_a_dataset_without_the_language_or_the_config(dataset):
    (problem,) = problems(dataset, target_language="spa")
    assert problem.startswith(f"{dataset}:1: no columns eng and spa")
    (problem,) = problems(f"{dataset}?config=eng-cat")
    assert "cannot be loaded" in problem
    assert "eng-cat" in problem


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("hf://", "must be hf://OWNER/NAME"),
        ("hf://a/b@", "must be hf://OWNER/NAME"),
        ("hf://a/b?subset=x", "unknown option 'subset'. Known: config, split"),
        ("hf://a/b?split=", "split must have one value"),
    ],
)
def test_malformed_dataset_locations(location, expected):
    (problem,) = problems(location)
    assert problem.startswith(f"{location}: {expected}")


def test_what_is_asked_of_the_hub(monkeypatch):
    asked = []

    def load_dataset(path, name=None, **options):
        asked.append((path, name, options))
        raise ConnectionError("Couldn't reach the Hub\nat all")

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    location = "hf://owner/name@refs/convert/parquet?config=eng-cat&split=test"
    assert problems(location) == (
        f"{location}: cannot be loaded: ConnectionError: Couldn't reach the Hub at all",
    )
    assert asked == [("owner/name", "eng-cat", {"revision": "refs/convert/parquet"})]


def test_an_unreachable_hub_is_one_line(monkeypatch):
    pytest.importorskip("datasets")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (problem,) = problems("hf://no-such-owner/no-such-dataset")
    assert problem.startswith("hf://no-such-owner/no-such-dataset: cannot be loaded: ")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert problems("hf://a/b") == (
        "hf://a/b: needs the package datasets: pip install 'ksl-bench[datasets]'",
    )


# Languages.


@pytest.mark.parametrize(
    ("code", "name", "three", "two"),
    [
        ("eng", "English", "eng", "en"),
        ("cat", "Catalan", "cat", "ca"),
        ("cat_Latn", "Catalan", "cat", "ca"),
        ("dan", "Danish", "dan", "da"),
        ("spa", "Spanish", "spa", "es"),
        ("deu", "German", "deu", "de"),
        ("de", "German", "deu", "de"),
        ("gsw", "Swiss German", "gsw", None),
        ("zho_Hans", "Chinese", "zho", "zh"),
        ("zho_Hant", "Chinese (Traditional)", "zho", "zh"),
    ],
)  # fmt: skip
def test_languages_by_code(code, name, three, two):
    assert (language_name(code), to_iso6393(code), to_iso6391(code)) == (name, three, two)


@pytest.mark.parametrize("code", ["xqx", "zzz", "", "e", "eng-cat-x", "../x", "eng_Xxxx"])
@pytest.mark.parametrize("function", [language_name, to_iso6393, to_iso6391])
def test_an_unknown_language_says_what_a_code_is(function, code):
    with pytest.raises(DataError, match="ISO 639-3") as caught:
        function(code)
    assert repr(code) in str(caught.value)


def test_a_name_in_the_place_of_a_code_is_answered():
    with pytest.raises(DataError, match=r"Did you mean 'cat' \(Catalan\)\?"):
        language_name("Catalan")


# Real text; counts as `wc -l` gives them.


@pytest.mark.shared_data
def test_global_voices(shared_data):
    stem = shared_data / "softcatala_en_ca" / "globalvoices"
    corpus = read((f"{stem}.eng", f"{stem}.cat"))
    assert (len(corpus.pairs), corpus.available) == (21342, 21342)
    assert sum(pair.source == pair.target for pair in corpus.pairs) == 279
    assert len(read((f"{stem}.eng", f"{stem}.cat"), size=2000, seed=1).pairs) == 2000


@pytest.mark.shared_data
@pytest.mark.parametrize("target", ["cat", "dan", "spa"])
def test_flores(shared_data, target):
    folder = str(shared_data / "flores101_devtest")
    corpus = read(folder, split="devtest", target_language=target)
    assert corpus.available == 1012
    assert corpus.pairs[0].source.startswith('"We now have 4-month-old mice')
    assert problems(folder, split="dev", target_language=target) == (
        f"{folder}: no dev split; there is devtest",
    )


@pytest.mark.shared_data
def test_ntrex(shared_data):
    stem = shared_data / "ntrex128" / "newstest2019"
    assert read((f"{stem}.eng", f"{stem}.cat"), split="dev").available == 1997
    (problem,) = problems(str(shared_data / "ntrex128"), split="dev")
    assert "neither dev/LANGUAGE.dev nor dev.LANGUAGE" in problem
