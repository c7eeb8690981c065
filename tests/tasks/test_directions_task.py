"""Many directions: what is tuned on, what is scored, and in which language an answer is."""

import numpy as np
import pytest
from pydantic import ValidationError

from ksl_bench.config import DirectionsSpec
from ksl_bench.errors import ConfigError
from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import draw_sentences
from ksl_bench.suite import load_suite
from ksl_bench.tasks import build_task
from ksl_bench.tasks.language_id import UNKNOWN

FILES = {f"{one}_files": "controlled" for one in ("train", "dev", "devtest")}


def spec(**fields):
    return DirectionsSpec(**{"directions": ["eng", "cat", "dan"], **FILES, **fields})


def test_languages_are_every_pair_of_them():
    assert spec().directions == (
        "eng-cat",
        "eng-dan",
        "cat-eng",
        "cat-dan",
        "dan-eng",
        "dan-cat",
    )
    assert spec().tuned_on == spec().directions
    assert spec(tuned_on=["eng", "cat"]).tuned_on == ("eng-cat", "cat-eng")
    assert spec(directions=["eng-cat"]).directions == ("eng-cat",)
    assert spec(directions=["zho_Hant", "eng"]).languages == ("zho_Hant", "eng")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tuned_on": ["eng-deu"]}, "tuned_on: must be some of the directions eng-cat, "),
        ({"directions": ["eng", "eng"]}, "more than once"),
        ({"directions": ["eng-cat", "eng"]}, "pattern"),
        ({"directions": ["eng"]}, "pattern"),
        ({"directions": ["eng-cat", "eng-cat"]}, "more than once: eng-cat"),
        ({"directions": []}, "at least 1"),
        ({"train_files": ["a", "b"]}, "mapping from languages to files"),
        ({"train_files": "hf://a/b"}, "mapping from languages to files"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        spec(**fields)


def test_a_suite_takes_files_by_language(tmp_path):
    suite = load_suite("directions", ["task.train_files={eng: a.eng, cat: b.cat}"])
    assert [one for one, _ in suite.task.train_files] == ["eng", "cat"]
    assert all(path.startswith("/") for _, path in suite.task.train_files)


def test_every_segment_stands_in_every_direction_and_is_drawn_together():
    task = build_task(spec(devtest_size=4))
    items = task.read("devtest").items
    assert len(items) == 4 * 6
    assert [one.groups["direction"] for one in items[:6]] == list(spec().directions)
    assert [one.document for one in items] == [str(place) for place in range(4) for _ in range(6)]
    first = items[0]
    assert first.fields["source_language"] == "English"
    assert first.fields["target_language"] == "Catalan"
    assert first.language == "cat"
    assert items[2].fields["source"] == first.response
    drawn = draw_sentences([one.document for one in items], 50)
    counts = drawn.counts_BN.reshape(50, 4, 6)
    assert np.all(counts == counts[:, :, :1])


def test_training_text_is_of_the_directions_that_are_tuned_on():
    task = build_task(spec(tuned_on=["eng-cat", "dan-eng"], train_size=5))
    found = [one.groups["direction"] for one in task.read("train").items]
    assert found == ["eng-cat", "dan-eng"] * 5


def test_the_digest_knows_the_directions():
    one, other = (
        build_task(spec(directions=[name], devtest_size=3)).read("devtest").digest
        for name in ("eng-cat", "cat-eng")
    )
    assert one != other
    tuned = build_task(spec(tuned_on=["eng-cat"], devtest_size=3)).read("devtest").digest
    assert tuned == build_task(spec(devtest_size=3)).read("devtest").digest


def test_hypotheses_in_another_language_or_in_none_are_counted():
    lines = ["La dona dorm.", "The woman sleeps.", "La casa xyz", "Kvinden sover."]
    answers = Answers(
        {"raw": lines}, ["-"] * 4, ["cat", "cat", "cat", "dan"], {"direction": ["a", "a", "a", "b"]}
    )
    identify = build_task(spec()).identifier("devtest")
    off = build_measure("off_target", [], identify)
    none = build_measure("no_language", [], identify)
    assert off.value(answers, "raw") == pytest.approx(25.0)
    assert none.value(answers, "raw") == pytest.approx(25.0)
    assert off.value(answers.at([0, 1]), "raw") == pytest.approx(50.0)
    draws = np.array([[1.0, 1, 1, 1], [0, 2, 0, 2], [0, 0, 0, 0]])
    scores = off.scores(draws, off.statistics(answers, "raw"))
    assert scores[:2] == pytest.approx([25.0, 50.0])
    assert np.isnan(scores[2])


SCRIPTS = "task.directions=[eng, zho_Hans, zho_Hant]"
ALIGNED = [
    f"task.{one}_files={{eng: a, zho_Hans: b, zho_Hant: c}}" for one in ("train", "dev", "devtest")
]


def test_languages_that_cannot_be_told_apart_are_refused_before_the_start():
    with pytest.raises(ConfigError) as caught:
        load_suite("directions", [SCRIPTS, "task.tuned_on=[eng, zho_Hans]", *ALIGNED])
    assert caught.value.problems == (
        "task.directions: language identification cannot tell 'zho_Hans' from 'zho_Hant'; "
        "give evaluate.metrics without off_target and no_language, or other languages",
    )


def test_they_are_taken_where_no_metric_asks():
    given = [SCRIPTS, "task.tuned_on=[eng, zho_Hans]", *ALIGNED, "evaluate.metrics=[bleu, chrf]"]
    assert load_suite("directions", given).task.languages == ("eng", "zho_Hans", "zho_Hant")


def test_the_language_of_a_hypothesis_has_no_script():
    files = {f"{one}_files": {"eng_Latn": "a", "nob_Latn": "b"} for one in ("train", "devtest")}
    task = build_task(spec(directions=["eng_Latn-nob_Latn"], **files))
    identify = task.identifier("devtest")
    assert identify("Jeg vet ikke hva som skjedde etter at vi gikk hjem.") == "nob"
    assert identify("12.5 %") == UNKNOWN


def test_an_off_target_rate_ranks_nothing():
    with pytest.raises(Exception, match=r"evaluate.metrics: the first one ranks, and must be"):
        load_suite("directions", ["evaluate.metrics=[off_target, bleu]"])


@pytest.mark.shared_data
def test_the_shipped_suite_takes_four_languages_of_flores(shared_data):
    suite = load_suite(
        "directions",
        [
            "task.directions=[eng, cat, dan, spa]",
            "task.tuned_on=[eng, cat]",
            f"task.devtest_files={shared_data / 'flores101_devtest'}",
            "task.devtest_size=20",
        ],
    )
    task = build_task(suite.task)
    items = task.read("devtest").items
    assert len(items) == 12 * 20
    identify = task.identifier("devtest")
    right = [identify(one.response) == one.language for one in items]
    assert sum(right) / len(right) >= 0.95
