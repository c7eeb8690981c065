"""A suite that scores what it tunes on is refused."""

import pytest

from ksl_bench.config import LabelColumns, ModelSpec
from ksl_bench.data.labelled import read_labelled
from ksl_bench.errors import ConfigError
from ksl_bench.leaks import Segments, find_leaks
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.suite import load_suite


def told(tuned, scored):
    sides = ({name: Segments.of(lines) for name, lines in side.items()} for side in (tuned, scored))
    paths = {name: "task" if len(scored) == 1 else f"conditions.{name}" for name in scored}
    return list(find_leaks(*sides, split="devtest", paths=paths))


def test_segments_are_alike_whatever_their_case_and_white_space():
    (line,) = told({"a": ["The  cat sat.", "x"]}, {"a": ["the cat SAT.", "y", "z"]})
    assert line.startswith(
        "task.devtest_files: 1 of 3 segments stand in the training text, too ('the cat SAT.', ...)"
    )


@pytest.mark.parametrize(
    ("tuned", "scored"),
    [
        ('"She is well, too," he said.', "“She is well, too”, he said."),
        ("it's 3-4", "It’s 3–4"),
        ("caf\u00e9", "cafe\u0301"),
        ("one two", "one\u00a0two"),
    ],
)
def test_neither_quotes_nor_dashes_nor_composed_accents_hide_a_leak(tuned, scored):
    assert len(told({"a": [tuned]}, {"a": [scored]})) == 1


@pytest.mark.parametrize(
    ("tuned", "scored"), [("3 cats", "4 cats"), ("\u0915\u093f", "\u0915\u0940"), ("cafe", "café")]
)
def test_digits_accents_and_vowel_signs_tell_segments_apart(tuned, scored):
    assert told({"a": [tuned]}, {"a": [scored]}) == []


def test_every_condition_is_held_against_every_other():
    found = told({"a": ["one"], "b": ["two"]}, {"a": ["two"], "b": ["three"]})
    assert len(found) == 1
    assert found[0].startswith("conditions.a.devtest_files: 1 of 1 segments stand in the training")
    assert "text of condition b" in found[0]
    assert found[0].endswith("allow it with conditions.a.leaks=allowed")


def test_what_is_apart_leaks_nothing():
    assert told({"a": ["one", "", " ", "?"]}, {"a": ["two", "", "!"]}) == []


def plan_of(*assignments):
    return make_plan(
        load_suite("own_files", list(assignments)), find_model(ModelSpec(name_or_path="tiny-base"))
    )


@pytest.fixture
def aligned(tmp_path):
    """Training and test files that share a segment on the target side alone."""
    for name, lines in {
        "train.eng": "one\ntwo\n",
        "train.cat": "un\ndos\n",
        "test.eng": "three\nfour\n",
        "test.cat": "tres\nDos\n",
    }.items():
        (tmp_path / name).write_text(lines)
    pairs = {
        one: f"[{tmp_path}/{name}.eng, {tmp_path}/{name}.cat]"
        for one, name in (("train", "train"), ("dev", "test"), ("devtest", "test"))
    }
    return [
        "model.name_or_path=tiny-base",
        *(f"task.{one}_files={at}" for one, at in pairs.items()),
    ]


def test_a_suite_that_scores_what_it_tunes_on_is_refused_with_the_segment(aligned):
    with pytest.raises(ConfigError, match=r"1 of 4 segments stand in the training text.*'Dos'"):
        plan_of(*aligned)


def test_the_condition_that_scores_a_leak_allows_it_or_does_not(aligned):
    """Both score the same files; only the one that refuses is told, by its own path."""
    conditions = "conditions={{one: {{leaks: {}}}, two: {{prompt: explicit, leaks: {}}}}}"
    plan_of(*aligned, conditions.format("allowed", "allowed"))
    with pytest.raises(ConfigError) as caught:
        plan_of(*aligned, conditions.format("refused", "allowed"))
    assert all(one.startswith("conditions.one.devtest_files: ") for one in caught.value.problems)
    assert "conditions.one.leaks=allowed" in caught.value.problems[0]


def test_a_condition_that_refuses_leaks_may_stand_beside_one_that_has_some(aligned, tmp_path):
    for language, lines in {"eng": "five\nsix\n", "cat": "cinc\nsis\n"}.items():
        (tmp_path / f"apart.{language}").write_text(lines)
    apart = f"[{tmp_path}/apart.eng, {tmp_path}/apart.cat]"
    plan_of(*aligned, f"conditions={{one: {{leaks: allowed}}, two: {{devtest_files: {apart}}}}}")


def test_it_may_be_allowed_and_then_says_so_in_the_plan(aligned):
    plan = plan_of(*aligned, "task.leaks=allowed")
    assert plan.record()["suite"]["task"]["leaks"] == "allowed"


@pytest.mark.shared_data
@pytest.mark.parametrize("language", ["eng", "cat", "dan"])
def test_494_segments_of_flores_devtest_stand_in_sib_200(language, shared_data):
    """Counted beforehand with Python's csv module; the same sentences in every language."""
    columns = LabelColumns(label="category", document="index_id")
    topics = [
        "science/technology",
        "travel",
        "politics",
        "sports",
        "health",
        "entertainment",
        "geography",
    ]
    texts = [
        one.text
        for split in ("train", "dev", "devtest")
        for one in read_labelled(
            str(shared_data / "sib200"),
            languages=[language],
            labels=topics,
            split=split,
            size=None,
            seed=0,
            columns=columns,
        ).items
    ]
    flores = (shared_data / f"flores101_devtest/devtest.{language}").read_text(encoding="utf-8")
    (line,) = told({"sib": texts}, {"flores": flores.split("\n")})
    assert line.startswith("task.devtest_files: 494 of 1012 segments ")


@pytest.mark.shared_data
def test_sib_200_and_flores_devtest_are_refused_together(shared_data, tmp_path):
    texts = {}
    for language in ("eng", "cat"):
        rows = (shared_data / f"sib200/{language}_Latn.train.tsv").read_text().split("\n")[1:-1]
        texts[language] = dict(row.split("\t")[::2] for row in rows)
        lines = [texts[language][at] for at in texts["eng"]] if language == "cat" else []
        lines = lines or list(texts[language].values())
        (tmp_path / f"sib.{language}").write_text("".join(f"{line}\n" for line in lines))
    flores = shared_data / "flores101_devtest"
    with pytest.raises(ConfigError, match=r"task.devtest_files: \d+ of \d+ segments stand in"):
        plan_of(
            "model.name_or_path=tiny-base",
            f"task.train_files=[{tmp_path}/sib.eng, {tmp_path}/sib.cat]",
            f"task.devtest_files={flores}",
            f"task.dev_files={flores}",
        )
