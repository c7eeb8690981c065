"""Detection: what is read, what is refused, and that thresholds come from dev alone."""

import inspect
import json

import pytest

from ksl_bench.config import DetectionSpec
from ksl_bench.errors import ConfigError, DataError
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.suite import load_suite
from ksl_bench.tasks import build_task
from ksl_bench.tasks.detection import detected
from ksl_bench.worker import detection as worker

SPLITS = ("train", "dev", "devtest")


def spec(**given):
    files = {f"{split}_files": "controlled" for split in SPLITS}
    return DetectionSpec(**{"languages": ["eng", "cat", "deu"], **files, **given})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def rows(split, labels=("human", "machine")):
    return [
        {"text": f"{split} {number}", "label": labels[number % 2], "generator": f"g{number % 3}"}
        for number in range(8)
    ]


def test_the_shipped_corpus_is_read_whole():
    task = build_task(spec())
    assert [len(task.read(split).items) for split in SPLITS] == [1440, 720, 1080]
    one = task.read("dev").items[0]
    assert one.wanted in ("human", "machine")
    assert one.groups["language"] in ("eng", "cat", "deu")


def test_languages_sizes_and_verbalizers_are_the_suites():
    task = build_task(
        spec(languages=["cat"], dev_size=7, labels={"human": "person", "machine": "bot"})
    )
    items = task.read("dev").items
    assert len(items) == 7
    assert {one.groups["language"] for one in items} == {"cat"}
    assert {(one.wanted, one.response) for one in items} == {
        ("human", "person"),
        ("machine", "bot"),
    }


def test_a_human_text_counts_for_every_generator():
    for one in build_task(spec()).read("devtest").items:
        assert (one.groups["generator"] == "*") == (one.wanted == "human")


def test_files_with_other_labels_are_read_as_the_task_names_them(tmp_path):
    files = {
        f"{split}_files": write(tmp_path / f"{split}.jsonl", rows(split, (0, 1)))
        for split in SPLITS
    }
    task = build_task(spec(languages=["eng"], labels={0: "human", 1: "machine"}, **files))
    items = task.read("devtest").items
    assert [one.wanted for one in items] == ["human", "machine"] * 4
    assert items[1].groups["generator"] == "g1"


REAL = {
    "eng": ["The weather was cold and it rained all day long.", "She read the book on the train."],
    "deu": ["Das Wetter war kalt und es regnete den ganzen Tag.", "Sie las das Buch im Zug."],
}


def test_a_language_that_the_data_do_not_say_is_identified(tmp_path):
    content = [
        {"text": text, "label": label}
        for texts in REAL.values()
        for text, label in zip(texts, ("human", "machine"), strict=True)
    ]
    files = {
        "dev_files": write(tmp_path / "dev.jsonl", [*content, {"text": "1 2", "label": "human"}])
    }
    with pytest.raises(DataError, match="no column language, but 2 languages are asked for"):
        build_task(spec(languages=["eng", "deu"], **files)).read("dev")
    task = build_task(spec(languages=["eng", "deu"], identify_language=True, **files))
    found = [one.groups["language"] for one in task.read("dev").items]
    assert found == ["eng", "eng", "deu", "deu", "unknown"]


def test_identified_dev_and_devtest_are_held_apart_without_a_column(tmp_path):
    content = [{"text": text, "label": "human"} for text in REAL["eng"]]
    content += [{"text": text, "label": "machine"} for text in REAL["deu"]]
    other = [{**one, "text": f"{one['text']} So?"} for one in content]
    files = {
        "dev_files": write(tmp_path / "dev.jsonl", content),
        "devtest_files": write(tmp_path / "devtest.jsonl", other),
    }
    given = {"languages": ["eng", "deu"], "identify_language": True}
    assert len(build_task(spec(**given, **files)).read("devtest").items) == 4
    files["devtest_files"] = files["dev_files"]
    with pytest.raises(DataError, match="4 texts stand in devtest, too"):
        build_task(spec(**given, **files)).read("devtest")


def test_identification_over_a_folder_is_refused(tmp_path):
    for language in ("eng", "deu"):
        write(tmp_path / f"{language}.dev.jsonl", rows("dev"))
    given = {"languages": ["eng", "deu"], "dev_files": str(tmp_path)}
    assert len(build_task(spec(**given)).read("dev").items) == 16
    with pytest.raises(DataError) as caught:
        build_task(spec(**given, identify_language=True)).read("dev")
    (line,) = caught.value.problems
    assert line.startswith(
        f"identify_language: must be false for {tmp_path}: a folder has a file for each"
    )


@pytest.mark.parametrize("nothing", [{"generator": None}, {"generator": ""}, {}])
def test_a_text_without_a_generator_is_of_its_label(tmp_path, nothing):
    content = [
        {"text": f"text {at}", "label": label, **nothing}
        for at, label in enumerate(["human", "machine"])
    ]
    task = build_task(spec(languages=["eng"], dev_files=write(tmp_path / "dev.jsonl", content)))
    assert [one.groups["generator"] for one in task.read("dev").items] == ["*", "machine"]


def test_controlled_text_of_mixed_languages_is_of_none():
    """Human text is told apart without an error; what a hot model mixes takes the threshold of all texts."""
    told = build_task(spec()).read("dev").items
    items = build_task(spec(identify_language=True)).read("dev").items
    for one, other in zip(told, items, strict=True):
        found = other.groups["language"]
        assert found in (one.groups["language"], "unknown") or one.wanted == "machine"
        assert found == one.groups["language"] or one.wanted == "machine"


def test_the_generator_enters_the_digest(tmp_path):
    plain = rows("dev")
    other = [{**row, "generator": "another"} for row in plain]
    digests = {
        build_task(spec(languages=["eng"], dev_files=write(tmp_path / name, content)))
        .read("dev")
        .digest
        for name, content in (("a.jsonl", plain), ("b.jsonl", other))
    }
    assert len(digests) == 2


def test_a_split_of_one_class_is_refused(tmp_path):
    files = {"dev_files": write(tmp_path / "dev.jsonl", rows("dev")[::2])}
    with pytest.raises(DataError, match="both classes are needed"):
        build_task(spec(languages=["eng"], **files)).read("dev")


def test_dev_is_never_scored():
    with pytest.raises(ConfigError) as caught:
        load_suite("detection", ["evaluate.split=dev"])
    assert caught.value.problems == (
        "evaluate.split: dev is where thresholds are chosen, and never scored; must be devtest",
    )


def test_dev_and_devtest_must_not_share_a_text(tmp_path):
    scored = rows("devtest")
    dev = [*rows("dev"), {**scored[3], "text": f" {scored[3]['text'].upper()}"}]
    files = {
        "dev_files": write(tmp_path / "dev.jsonl", dev),
        "devtest_files": write(tmp_path / "devtest.jsonl", scored),
    }
    with pytest.raises(DataError, match="1 texts stand in devtest, too"):
        build_task(spec(languages=["eng"], **files)).read("devtest")


def test_the_same_file_for_dev_and_devtest_never_starts(tmp_path):
    both = write(tmp_path / "both.jsonl", rows("dev"))
    suite = load_suite(
        "detection",
        [
            f"task.dev_files={both}",
            f"task.devtest_files={both}",
            "task.languages=[eng]",
            "baselines=[base]",
        ],
    )
    with pytest.raises(DataError, match="8 texts stand in devtest, too"):
        make_plan(suite, find_model(suite.model))


def test_thresholds_can_only_be_chosen_on_dev():
    """One function calibrates, one constant names its split, and no argument reaches either."""
    assert worker.CALIBRATION == "dev"
    source = inspect.getsource(worker)
    assert source.count("choose_thresholds(") == 2  # where it is defined, and its one caller
    assert "choose_thresholds(dev, on_dev" in source
    assert "dev = warm.examples(work.task, CALIBRATION)" in source
    assert "on_dev = detector.scores(CALIBRATION)" in source


def test_dev_stands_in_the_key_of_every_evaluation(tmp_path):
    keys = []
    for size in (100, 101):
        suite = load_suite("detection", [f"task.dev_size={size}", "seeds=[0]"])
        plan = make_plan(suite, find_model(suite.model))
        keys.append({row.baseline: row.evaluation_key for row in plan.rows})
    assert all(keys[0][name] != keys[1][name] for name in keys[0])


def test_rules_read_what_a_detector_decided():
    task = build_task(spec())
    output = detected({"global": 1.0, "calibrated": 1.0}, {"global": True, "calibrated": False})
    assert {name: rule(output) for name, rule in task.rules.items()} == {
        "global": "machine",
        "calibrated": "human",
    }
    assert task.diagnostics([output], ["human"])["called_machine"] == {"global": 1, "calibrated": 0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "baselines.rank.statistic.name=rnk",
            "statistic.name: unknown statistic 'rnk'. Did you mean 'rank'?",
        ),
        ("baselines.rank.method=full", "method: a statistic trains nothing, so it must be 'none'"),
        (
            "baselines.rank.statistic.performer={baseline: full}",
            "statistic.performer: rank looks at one model; leave it out",
        ),
        (
            "baselines.binoculars.statistic={name: binoculars}",
            "statistic.performer: binoculars needs a performer, its second model",
        ),
        (
            "baselines.binoculars.statistic.performer={baseline: base}",
            "unknown baseline of this suite that trains 'base'",
        ),
        (
            "baselines.binoculars.statistic.performer.model={name_or_path: x}",
            "statistic.performer: give exactly one of baseline and model",
        ),
        (
            "baselines.statistical_vote.vote.of=[rank, two_step_vote]",
            "unknown baseline listed before it",
        ),
        (
            "baselines.statistical_vote.vote.of=[rank, rank]",
            "vote.of: one voice each, got more of rank",
        ),
        ("baselines.statistical_vote.vote.of=[rank]", "vote.of: must be"),
    ],
)
def test_what_makes_no_detector_is_refused(change, said):
    with pytest.raises(ConfigError) as caught:
        load_suite("detection", [change])
    assert any(said in one for one in caught.value.problems), caught.value.problems


def test_a_statistic_belongs_to_detection():
    with pytest.raises(ConfigError) as caught:
        load_suite("quickstart", ["baselines=[base, rank]"])
    assert caught.value.problems == (
        "baselines.rank.statistic: only of task 'detection', this is 'translation'",
    )
