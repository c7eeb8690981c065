"""AUC as a metric, and groups that share examples."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import (
    GROUPS_FILE,
    RESAMPLES_FILE,
    draw_sentences,
    read_arrays,
    score_answers,
)

LABELS = ("human", "machine")


def sample(seed=0, texts=90):
    draw = np.random.default_rng(seed)
    machine = draw.random(texts) < 0.5
    scores = np.round(draw.normal(size=texts) + machine, 1)
    called = np.where(scores > 0.5, "machine", "human").tolist()
    writers = np.where(machine, draw.choice(["a", "b"], size=texts), "*").tolist()
    return Answers(
        hypotheses={"global": called, "calibrated": called},
        references=np.where(machine, "machine", "human").tolist(),
        languages=["eng"] * texts,
        groups={"generator": writers, "class": np.where(machine, "m", "h").tolist()},
        scores={"global": scores.tolist(), "calibrated": (-scores).tolist()},
    )


def scored(answers):
    measures = {name: build_measure(name, LABELS) for name in ("accuracy", "auc")}
    drawn = draw_sentences([None] * len(answers.references), 100)
    return score_answers(answers, measures, drawn=drawn)


def area(answers, rule, places):
    machine = [answers.references[at] == "machine" for at in places]
    return 100 * roc_auc_score(machine, [answers.scores[rule][at] for at in places])


def test_the_area_is_scikit_learns_by_the_scores_of_the_rule():
    answers = sample()
    found = scored(answers).scores
    for rule in ("global", "calibrated"):  # they agree on every label, not on the scores
        assert found[rule]["auc"]["value"] == pytest.approx(
            area(answers, rule, range(len(answers.references)))
        )
        assert found[rule]["auc"]["low"] < found[rule]["auc"]["value"] < found[rule]["auc"]["high"]
    assert found["global"]["auc"]["value"] > 50 > found["calibrated"]["auc"]["value"]


def test_what_belongs_to_all_groups_counts_in_each():
    answers = sample()
    found = scored(answers).by_group["generator"]
    assert set(found) == {"a", "b"}
    for group, rules in found.items():
        places = [at for at, one in enumerate(answers.groups["generator"]) if one in (group, "*")]
        assert rules["global"]["auc"]["value"] == pytest.approx(area(answers, "global", places))
        assert rules["global"]["auc"]["examples"] == len(places)


def test_a_group_of_one_class_has_an_accuracy_and_no_area():
    for rules in scored(sample()).by_group["class"].values():
        assert {tuple(metrics) for metrics in rules.values()} == {("accuracy",)}


def test_a_draw_without_one_class_is_drawn_again_for_all_texts_and_for_a_group_alike():
    """3 human texts of 200: a draw misses them with chance 0.985^200, once in 20."""
    draw = np.random.default_rng(4)
    scores = {"global": draw.normal(size=200).tolist()}
    machine = [at >= 3 for at in range(200)]
    answers = Answers(
        hypotheses={"global": ["machine"] * 200},
        references=["machine" if one else "human" for one in machine],
        languages=["eng"] * 200,
        groups={"language": ["eng"] * 200},
        scores=scores,
    )
    drawn = draw_sentences([None] * 200, 300)
    found = score_answers(answers, {"auc": build_measure("auc", LABELS)}, drawn=drawn)
    told = drawn.counts_BN[:, :3].sum(axis=1) > 0
    assert 0 < (~told).sum() < 40
    kept = read_arrays(found.files[RESAMPLES_FILE])["global/auc"]
    for b in np.flatnonzero(told)[:20]:
        area = 100 * roc_auc_score(machine, scores["global"], sample_weight=drawn.counts_BN[b])
        assert kept[b] == pytest.approx(area)
    for b in np.flatnonzero(~told):
        following = next(one % 300 for one in range(b, b + 300) if told[one % 300])
        assert kept[b] == kept[following]
    number = found.scores["global"]["auc"]
    assert np.isfinite([number["low"], number["high"]]).all()
    group = found.by_group["language"]["eng"]["global"]["auc"]
    assert {name: group[name] for name in ("value", "low", "high")} == pytest.approx(
        {name: number[name] for name in ("value", "low", "high")}
    )
    assert (read_arrays(found.files[GROUPS_FILE])["language/eng/global/auc"] == kept).all()


def test_rules_that_agree_on_a_group_without_any_score_are_scored():
    answers = sample()
    scores = dict.fromkeys(("global", "calibrated"), answers.scores["global"])
    alike = Answers(
        answers.hypotheses, answers.references, answers.languages,
        {"class": answers.groups["class"]}, scores,
    )  # fmt: skip
    drawn = draw_sentences([None] * len(alike.references), 100)
    found = score_answers(alike, {"auc": build_measure("auc", LABELS)}, drawn=drawn)
    assert found.by_group == {}
    assert found.scores["global"] == found.scores["calibrated"]
