"""A suite that takes the winners of a sweep: what they are, what the search took, and fresh seeds."""

import json

import pytest

from ksl_bench.config import ModelSpec
from ksl_bench.errors import ConfigError
from ksl_bench.leaderboard import budgets
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.space import load_space
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.trials import Trial, Trials

SMALL = [
    "task.train_size=8",
    "task.dev_size=2",
    "task.devtest_size=2",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a sweep whose scores are put there, not trained: the larger the rate, the better."""
    store = Store(str(tmp_path_factory.mktemp("store")))
    space = load_space("learning_rate", SMALL)
    trials = Trials(space, find_model(space.suite.model), store, retry=False)
    for name in space.spec.baselines:
        for choice in space.choices(name):
            trial = Trial(name, choice)
            for key, work in trials.plan(trial).works.items():
                put(store, work.kind, key, score=1000 * work.baseline.train.learning_rate)
            trials.run(trial, pool=None)
    trials.ended = True
    store.plans.write(space.spec.name, trials.record())
    return store


def put(store, kind, key, *, score):
    cost = {"train_seconds": 36.0, "selection_seconds": 3.6, "evaluate_seconds": 7.2}
    record = {"cost": cost, "steps": 120, "scores": {"raw": {"bleu": {"value": score}}}}
    store.finish(kind, key, record)


def test_every_winner_is_there_under_the_name_of_its_choice(store):
    suite = load_suite("tuned", SMALL, stored=store.plans.read)
    assert [one.name for one in suite.baselines] == [
        "base",
        "full.learning_rate-0.01",
        "embedding.learning_rate-0.03",
        "lora.learning_rate-0.1",
        "prefix.learning_rate-0.3",
        "embedding",  # the tuning in which the tickets were found
        "ks_partial_k18.learning_rate-0.3",
        "frequency_k18.learning_rate-0.3",
    ]
    assert suite.baseline("lora.learning_rate-0.1").train.learning_rate == 0.1
    assert suite.baseline("ks_partial_k18.learning_rate-0.3").ticket.source == "embedding"


def test_a_winner_is_the_very_state_that_the_sweep_tuned(store):
    space = load_space("learning_rate", SMALL)
    trial = space.trial("lora", {"train.learning_rate": 0.1})
    model = find_model(trial.model)
    searched = make_plan(trial, model)
    suite = load_suite("tuned", SMALL, stored=store.plans.read)
    again = make_plan(suite.model_copy(update={"seeds": (0,)}), model)
    (before,) = [row for row in searched.rows if row.baseline == "lora.learning_rate-0.1"]
    (after,) = [row for row in again.rows if row.baseline == "lora.learning_rate-0.1"]
    assert before.state_key == after.state_key
    assert before.evaluation_key != after.evaluation_key  # dev, devtest


def test_the_search_is_on_the_bill_what_trials_share_once(store):
    suite = load_suite("tuned", SMALL, stored=store.plans.read)
    lora = suite.baseline("lora.learning_rate-0.1").search
    assert (lora.space, lora.trials, lora.seeds, lora.steps) == ("learning_rate", 4, (0,), 480)
    assert lora.device_hours == pytest.approx(4 * (36 + 7.2) / 3600)
    ticket = suite.baseline("ks_partial_k18.learning_rate-0.3").search
    # One embedding tuning and one ticket for four trials; the source is scored too.
    assert ticket.steps == 120 + 480
    assert ticket.device_hours == pytest.approx((36 + 7.2 + 3.6 + 4 * (36 + 7.2)) / 3600)


def test_the_leaderboard_says_what_the_search_took():
    search = {"space": "learning_rate", "trials": 4, "seeds": [0], "steps": 4800}
    rows = [
        {"baseline": "lora", "search": {**search, "device_hours": 0.125}},
        {"baseline": "base", "search": None},
    ]
    assert budgets(rows) == [
        "lora: best on dev of 4 in sweep learning_rate, 1 seed; the search took 4,800 steps, 0.12 "
        "device-hours"
    ]


def test_only_some_of_the_winners_can_be_taken(store):
    listed = 'baselines=[base, {"from_sweep": "learning_rate", "baselines": ["lora"]}]'
    suite = load_suite("tuned", [*SMALL, listed], stored=store.plans.read)
    assert [one.name for one in suite.baselines] == ["base", "lora.learning_rate-0.1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seeds=[0, 101]", "seeds: 0 chose full.learning_rate-0.01 in sweep 'learning_rate'"),
        ("evaluate.split=dev", "evaluate.split: dev chose"),
        ("baselines=[{from_sweep: none}]", "nothing is stored of sweep 'none'"),
        (
            "baselines=[{from_sweep: learning_rate, baselines: [lor]}]",
            "has no winner of 'lor'; it has full, embedding, lora",
        ),
        ("baselines=[{from_sweep: learning_rate, k: 3}]", "must be from_sweep: NAME"),
        (
            "baselines=[{recipe: embedding, train: {steps: 3}}, {from_sweep: learning_rate}]",
            "'embedding' is listed already, and not as the sweep had it",
        ),
        ("baselines=[{recipe: lora, search: {}}]", "search: only a sweep says that"),
    ],
)
def test_what_would_not_be_an_honest_test_is_refused(store, change, said):
    with pytest.raises(ConfigError, match=r".") as caught:
        load_suite("tuned", [*SMALL, change], stored=store.plans.read)
    assert said in "\n".join(caught.value.problems)


def test_what_chose_a_baseline_cannot_test_it_whatever_it_is_called(store):
    model = find_model(ModelSpec(name_or_path="tiny-base"))
    fresh = load_suite("tuned", SMALL, stored=store.plans.read)
    tested = make_plan(fresh, model).data["default"]["devtest"]["digest"]

    def stored(name):
        plan = store.plans.read(name)
        return plan and {**plan, "data": {"default": {"dev": {"digest": tested}}}}

    with pytest.raises(ConfigError) as caught:
        make_plan(load_suite("tuned", SMALL, stored=stored), model)
    assert caught.value.problems[0] == (
        "task.devtest_files: sweep 'learning_rate' chose full.learning_rate-0.01 on this text; a test of "
        "it needs another"
    )


def test_segments_of_dev_do_not_test_what_dev_chose(store, tmp_path):
    for name, (english, catalan) in {
        "train": ("one\ntwo\n", "un\ndos\n"),
        "dev": ("three\nfour\n", "tres\nquatre\n"),
        "devtest": ("five\nFour.\n", "cinc\nquatre\n"),
    }.items():
        (tmp_path / f"{name}.eng").write_text(english)
        (tmp_path / f"{name}.cat").write_text(catalan)
    files = [
        f"task.{name}_files=[{tmp_path}/{name}.eng, {tmp_path}/{name}.cat]"
        for name in ("train", "dev", "devtest")
    ]
    files += [f"task.{name}_size=2" for name in ("train", "dev", "devtest")]
    suite = load_suite("tuned", files, stored=store.plans.read)
    model = find_model(ModelSpec(name_or_path="tiny-base"))
    with pytest.raises(
        ConfigError, match=r"2 of 4 segments stand in the dev text, on which baseline"
    ):
        make_plan(suite, model)
    make_plan(load_suite("tuned", [*files, "task.leaks=allowed"], stored=store.plans.read), model)
    unchosen = load_suite("tuned", [*files, "baselines=[base, lora]"], stored=store.plans.read)
    make_plan(unchosen, model)


def test_a_sweep_that_has_not_ended_has_no_winners_yet(store):
    def stored(name):
        plan = store.plans.read(name)
        return plan and {**plan, "sweep": {**plan["sweep"], "ended": False}}

    with pytest.raises(
        ConfigError, match="'learning_rate' is under way or was cut off; first: ksl"
    ):
        load_suite("tuned", SMALL, stored=stored)


def test_without_the_sweep_the_command_line_says_what_comes_first(ksl, tmp_path):
    done = ksl("run", "tuned", "--storage", str(tmp_path))
    assert done.returncode == 2
    assert "first: ksl-bench sweep learning_rate" in done.stderr
    assert json.dumps([]) not in done.stdout
