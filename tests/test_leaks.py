"""A suite that scores what it tunes on is refused."""

import pytest

from ksl_bench.config import ModelSpec
from ksl_bench.errors import ConfigError
from ksl_bench.leaks import Segments, find_leaks
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.suite import load_suite


def told(tuned, scored):
    sides = ({name: Segments.of(lines) for name, lines in side.items()} for side in (tuned, scored))
    return list(find_leaks(*sides, field="task.devtest_files"))


def test_segments_are_alike_whatever_their_case_and_white_space():
    (line,) = told({"a": ["The  cat sat.", "x"]}, {"a": ["the cat SAT.", "y", "z"]})
    assert line.startswith(
        "task.devtest_files: 1 of 3 segments stand in the training text, too ('the cat SAT.', ...)"
    )


def test_every_condition_is_held_against_every_other():
    found = told({"a": ["one"], "b": ["two"]}, {"a": ["two"], "b": ["three"]})
    assert len(found) == 1
    assert "of condition a stand in the training text of condition b" in found[0]


def test_what_is_apart_leaks_nothing():
    assert told({"a": ["one", "", " "]}, {"a": ["two", ""]}) == []


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


def test_it_may_be_allowed_and_then_says_so_in_the_plan(aligned):
    plan = plan_of(*aligned, "task.leaks=allowed")
    assert plan.record()["suite"]["task"]["leaks"] == "allowed"


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
