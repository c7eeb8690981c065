"""Classification: labels in, readings out; text from files as people have them."""

import csv

import pytest
from pydantic import ValidationError

from ksl_bench.config import ClassificationSpec
from ksl_bench.data.controlled.topics import TOPICS, controlled_topics
from ksl_bench.data.readers import read_table
from ksl_bench.errors import DataError
from ksl_bench.tasks import build_task
from ksl_bench.tasks.base import Output

LABELS = {"science/technology": "science", "travel": "Travel", "politics": "politics"}


def spec(**given):
    files = {f"{split}_files": "controlled" for split in ("train", "dev", "devtest")}
    return ClassificationSpec(**{"languages": ["eng"], "labels": LABELS, **files, **given})


def output(text, scores=(0.0, 0.0, 0.0)):
    return Output(text, True, 3, scores)


@pytest.mark.parametrize(
    ("text", "raw", "first_line"),
    [
        (" science", "science/technology", "science/technology"),
        (" travel\nText: more", "", "travel"),
        (" TRAVEL ", "travel", "travel"),
        ("\n\npolitics", "politics", "politics"),
        (" politics.", "", ""),
        ("science/technology", "", ""),  # the label is not what the model is to write
        ("", "", ""),
    ],
)
def test_an_output_is_the_label_whose_verbalizer_it_is(text, raw, first_line):
    rules = build_task(spec()).rules
    assert rules["raw"](output(text)) == raw
    assert rules["first_line"](output(text)) == first_line


def test_the_likeliest_label_wins_and_of_equal_ones_the_first():
    rules = build_task(spec()).rules
    assert rules["likelihood"](output("", (-3.0, -1.0, -2.0))) == "travel"
    assert rules["likelihood"](output("", (-1.0, -1.0, -2.0))) == "science/technology"


def test_diagnostics_tell_how_many_named_a_label():
    task = build_task(spec())
    found = task.diagnostics([output(" travel\nmore"), output("what")], ["travel", "travel"])
    assert found["answered"] == {"raw": 0.0, "first_line": 0.5}
    assert found["eos_rate"] == 1.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": ["one"]}, "at least 2 items"),
        ({"labels": {"a": "x", "b": "X "}}, "labels: verbalizer given more than once: x"),
        ({"labels": ["a", "A"]}, "labels: label given more than once: a"),
        ({"labels": {"a": " ", "b": "x"}}, "String should match pattern"),
        ({"languages": []}, "at least 1 item"),
    ],
)
def test_labels_must_be_told_apart(given, said):
    with pytest.raises(ValidationError) as caught:
        spec(**given)
    assert said in str(caught.value)


def test_topics_are_the_same_in_every_language_and_splits_share_no_meaning():
    english = controlled_topics(["eng"], split="devtest", size=50, seed=0)
    catalan = controlled_topics(["cat"], split="devtest", size=50, seed=0)
    assert [one[1] for one in english] == [one[1] for one in catalan]
    assert {one[1] for one in english} == set(TOPICS)
    train = controlled_topics(["eng"], split="train", size=500, seed=0)
    assert not {one[0] for one in english} & {one[0] for one in train}


def test_languages_take_turns():
    both = controlled_topics(["eng", "deu"], split="dev", size=10, seed=0)
    assert [one[2] for one in both] == ["eng", "deu"] * 5


HEAD = "index_id\tcategory\ttext\n"


@pytest.fixture
def folder(tmp_path):
    """A folder as SIB-200 has it."""
    for language, word in (("eng_Latn", "the"), ("cat_Latn", "el")):
        for split, count in (("train", 6), ("dev", 2), ("test", 3)):
            lines = [f"{at}\t{list(LABELS)[at % 3]}\t{word} {split} {at}\n" for at in range(count)]
            (tmp_path / f"{language}.{split}.tsv").write_text(HEAD + "".join(lines))
    return tmp_path


SIB = {"label": "category", "document": "index_id"}


def read(folder, split="devtest", **given):
    files = {f"{one}_files": str(folder) for one in ("train", "dev", "devtest")}
    return build_task(spec(columns=SIB, **{**files, **given})).read(split)


def test_a_folder_of_several_languages_is_read_by_split(folder):
    found = read(folder, languages=["eng", "cat"])
    assert [one.fields["text"] for one in found.items[:3]] == [f"the test {at}" for at in range(3)]
    assert found.items[0].response == "science"
    assert found.items[0].wanted == "science/technology"
    assert found.items[3].groups == {"language": "cat"}
    # One text in two languages is drawn as one.
    assert found.items[0].document == found.items[3].document == "0"
    assert len(read(folder, "train", train_size=4).items) == 4


def test_a_file_with_a_language_column_gives_the_languages_asked_for(tmp_path):
    path = tmp_path / "all.jsonl"
    path.write_text(
        '{"text": "one", "label": "travel", "language": "eng"}\n'
        '{"text": "dos", "label": "politics", "language": "spa"}\n'
        '{"text": "un", "label": "travel", "language": "cat_Latn"}\n'
    )
    found = build_task(spec(languages=["eng", "cat"], devtest_files=str(path))).read("devtest")
    assert [one.fields["text"] for one in found.items] == ["one", "un"]


@pytest.mark.parametrize(
    ("content", "given", "said"),
    [
        ("text\tlabel\na\tsports\n", {}, "all.tsv:2: label must be one of"),
        ("text\tlabel\n \ttravel\n", {}, "all.tsv:2: empty text"),
        ("text\ttopic\na\ttravel\n", {}, "no column label; there are text, topic"),
        ("text\tlabel\na\ttravel\n", {"languages": ["eng", "cat"]}, "no column language"),
        ("text\tlabel\na\ttravel\tx\n", {}, "all.tsv:2: 3 columns, but the header has 2"),
        ("text\tlabel\na\ttravel\n", {"devtest_size": 9}, "9 devtest texts wanted, but 1 avail"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(tmp_path, content, given, said):
    path = tmp_path / "all.tsv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        build_task(spec(devtest_files=str(path), **given)).read("devtest")
    assert said in str(caught.value)


def test_a_language_that_a_folder_lacks_is_told(folder):
    with pytest.raises(DataError, match="no deu in devtest"):
        read(folder, languages=["deu"])


def test_controlled_topics_that_the_suite_does_not_name_are_told():
    with pytest.raises(DataError, match="labels that are not among"):
        build_task(spec()).read("dev")


def test_a_quoted_field_is_read_as_csv_has_it_and_a_lone_quote_stays(tmp_path):
    (tmp_path / "some.tsv").write_text(
        "text\tlabel\n"
        '"He said ""well, too,"" and left."\ttravel\n'
        '"Quoted," he said.\t"travel"\n'
        'Five feet 6"\ttravel\n'
        '"A\ttab"\ttravel\n'
        '"\ttravel\n'
    )
    read = build_task(spec(devtest_files=str(tmp_path / "some.tsv"))).read("devtest")
    assert [one.fields["text"] for one in read.items] == [
        'He said "well, too," and left.',
        '"Quoted," he said.',
        'Five feet 6"',
        "A\ttab",
        '"',
    ]


@pytest.mark.parametrize("nothing", ['"document": null, ', '"document": "", ', ""])
def test_a_row_that_names_no_document_stands_in_none(tmp_path, nothing):
    lines = [f'{{{nothing}"text": "text {at}", "label": "travel"}}\n' for at in range(3)]
    lines.append('{"document": 0, "text": "last", "label": "travel"}\n')
    (tmp_path / "some.jsonl").write_text("".join(lines))
    read = build_task(spec(devtest_files=str(tmp_path / "some.jsonl"))).read("devtest")
    assert [one.document for one in read.items] == [None, None, None, "0"]


@pytest.mark.shared_data
@pytest.mark.parametrize("language", ["eng", "cat", "dan"])
def test_sib_200_is_read_as_pythons_csv_reads_it(language, shared_data):
    path = shared_data / "sib200" / f"{language}_Latn.train.tsv"
    problems = []
    found = [row for _, row in read_table(str(path), problems)]
    with path.open(encoding="utf-8", newline="") as file:
        assert found == list(csv.DictReader(file, delimiter="\t"))
    assert not problems


@pytest.mark.shared_data
def test_sib_200_is_read_by_its_ids(shared_data):
    labels = ["science/technology", "travel", "politics", "sports", "health", "entertainment"]
    files = {f"{one}_files": str(shared_data / "sib200") for one in ("train", "dev", "devtest")}
    task = build_task(
        spec(languages=["eng", "cat"], labels=[*labels, "geography"], columns=SIB, **files)
    )
    sizes = {split: len(task.read(split).items) for split in ("train", "dev", "devtest")}
    assert sizes == {"train": 2 * 701, "dev": 2 * 99, "devtest": 2 * 204}
    ids = {split: {one.document for one in task.read(split).items} for split in sizes}
    assert not ids["train"] & ids["devtest"]
