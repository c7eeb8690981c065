"""AUC as a metric, and groups that share examples."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ksl_bench.evaluation.answers import Answers
from ksl_bench.evaluation.measures import build_measure
from ksl_bench.evaluation.scoring import draw_sentences, score_answers

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
