"""Every filter of docs/mlflow.md, asked of a real database: it must tell rows apart."""

import re

import mlflow
import pytest

from ksl_bench.store import key_of
from ksl_bench.tracking import Tracker, tracking_uri
from tests.boards import COST, Written
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "mlflow.md").read_text(encoding="utf-8")
FILTERS = re.findall(r"^\| [^|]+ \| (`+)(.+?)\1 \|$", PAGE.split("## Filters")[1], re.M)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    board = Written(tmp_path_factory.mktemp("store"))
    board.scored("base", [0.5], method="none", stops=False)
    hungry = {**COST, "train_peak_memory": [{"allocated": 2**30, "reserved": None}]}
    board.scored("full", [0.99], trainable=10**6, cost=hungry)
    board.scored(
        "ks_partial_k18", [0.99], method="partial_tuning", ticket={"criterion": "ks", "k": 18}
    )
    failures = {
        "lora": ("diverged", "the loss is nan"),
        "prefix": ("out_of_memory", "CUDA out of memory"),
    }
    for name in failures:
        board.recipe(name, name)
        state, evaluation = key_of({"of": name}), key_of({"scores": name})
        board.row(name, 0, evaluation, state=state)
    store = board.done()
    for name, (status, reason) in failures.items():
        store.fail("state", key_of({"of": name}), status, reason)
    Tracker(store).sync("mine")
    return tracking_uri(store, None)


def found(uri, filter_string, **rest):
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine").experiment_id
    runs = client.search_runs([experiment], filter_string, **rest)
    return [run.data.tags.get("baseline", "leaderboard") for run in runs]


def test_the_page_has_filters():
    assert len(FILTERS) >= 12


@pytest.mark.parametrize("filter_string", [text for _, text in FILTERS])
def test_a_filter_finds_some_runs_and_not_all(uri, filter_string):
    assert 0 < len(found(uri, filter_string)) < 6


@pytest.mark.parametrize(
    ("filter_string", "wanted"),
    [
        ("tags.kind = 'leaderboard'", {"leaderboard"}),
        ("attributes.status = 'FAILED'", {"lora", "prefix"}),
        ("tags.status = 'out_of_memory'", {"prefix"}),
        ("tags.criterion = 'ks'", {"ks_partial_k18"}),
        ("metrics.`system/train_peak_memory_bytes` > 838860800", {"full"}),
    ],
)
def test_a_filter_finds_the_runs_it_says(uri, filter_string, wanted):
    assert filter_string in [text for _, text in FILTERS]
    assert set(found(uri, filter_string)) == wanted


def test_runs_are_sorted_by_the_first_line(uri):
    order = ["metrics.`bleu/first_line` DESC"]
    assert order[0] in PAGE
    ranked = found(uri, "tags.kind = 'run' AND tags.status = 'finished'", order_by=order)
    assert ranked[-1] == "base"


def test_every_tag_and_metric_that_the_page_names_is_there(uri):
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine").experiment_id
    (run,) = client.search_runs([experiment], "tags.baseline = 'ks_partial_k18'")
    lines = re.findall(r"^\| (?:tags of|scores|costs|system)[^|]*\|(.*)$", PAGE, re.M)
    assert len(lines) == 4
    named = set(re.findall(r"`([a-z_./]+)`", " ".join(lines)))
    not_in_this_suite = {"money", "bleu/prompt_restart"}  # has no price, and two rules
    assert named - {"run"} - not_in_this_suite <= {*run.data.tags, *run.data.metrics}
