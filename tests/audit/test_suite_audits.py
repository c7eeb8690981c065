"""Audits of the tickets of a suite, from the store and back into its leaderboard."""

import json

import pytest
from safetensors.torch import load

from ksl_bench.audit.files import Question, certify_files
from ksl_bench.audit.predictions import Smoothing
from ksl_bench.audit.suites import certify_suite
from ksl_bench.benchmark import Execution
from ksl_bench.config import ModelSpec
from ksl_bench.errors import ModelError
from ksl_bench.in_process import InProcessPool
from ksl_bench.leaderboard import read_board
from ksl_bench.methods import build_method
from ksl_bench.methods.base import load_state
from ksl_bench.models import find_model, load_model, load_tokenizer
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.tasks import build_task

SETTINGS = [
    "seeds=[0]",
    "task.train_size=64",
    "task.devtest_size=6",
    "evaluate.decoding.max_new_tokens=8",
    "evaluate.bootstrap_samples=100",
    """baselines=[base,
    {recipe: embedding, train: {steps: 4}},
    {recipe: ks_transfer_k18},
    ]""",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("quickstart", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    assert Execution(plan, store, retry=False).run(InProcessPool(plan, store)).complete
    store.plans.write(suite.name, plan.record())
    return store, suite, next(row for row in plan.rows if row.baseline == "ks_transfer_k18")


def test_the_audit_of_a_suite_is_that_of_its_files_and_the_leaderboard_tells_it(
    made, ksl, tmp_path
):
    store, suite, row = made
    before = read_board(store, "quickstart")
    (told,) = (one for one in before.verdicts if one.question == "certificate")
    assert told.text.endswith("; no certificate was audited")
    done = ksl(
        "certify", "--suite", "quickstart", "--storage", store.root, "--smoothed-positions", "0", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)

    # The same question, asked of files: the tuned model as a folder, the text as lines.
    (tmp_path / "ticket.safetensors").write_bytes(store.read_ticket(row.ticket_key))
    items = build_task(suite.tasks["default"]).read("devtest").items
    lines = "".join(f"{one.fields['source']}\t{one.response}\n" for one in items)
    (tmp_path / "text.tsv").write_text(lines, encoding="utf-8")
    _tuned_folder(store, row, tmp_path)
    question = Question(
        base="tiny-base",
        tuned=str(tmp_path / "tuned"),
        ticket=tmp_path / "ticket.safetensors",
        text=tmp_path / "text.tsv",
        sizes=(18,),
        smoothing=Smoothing(positions=0),
    )
    alike = certify_files(question).report
    assert found["tickets"] == alike["tickets"]
    assert found["positions"] == alike["positions"]

    (told,) = (
        one for one in read_board(store, "quickstart").verdicts if one.question == "certificate"
    )
    rule = found["tickets"][0]["ks_sum"]
    assert f"certificates, {found['positions']:,} positions: the KS-sum rule" in told.text
    assert f"with {rule['violations']} violation" in told.text


def _tuned_folder(store, row, folder):
    """Write the tuned model as a folder of its own."""
    reference = find_model(ModelSpec(name_or_path="tiny-base"))
    model = build_method("embedding", {}).attach(
        load_model(reference, precision="fp32"), ticket=None, seed=0
    )
    load_state(model, load(store.read_bytes("state", row.source_state_key, "state.safetensors")))
    model.save_pretrained(folder / "tuned")
    load_tokenizer(reference).save_pretrained(folder / "tuned")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--k", "4"),
        ("--prompt", "explicit"),
        ("--source-language", "eng"),
        ("--target-language", "cat"),
        ("--precision", "fp32"),
    ],
)
def test_what_a_suite_brings_itself_is_refused(made, ksl, option, value):
    store, _, _ = made
    done = ksl("certify", "--suite", "quickstart", "--storage", store.root, option, value)
    assert done.returncode == 2
    (line,) = done.stderr.strip().split("\n")
    assert f"{option}: not with --suite" in line


def test_a_suite_that_scores_dev_is_audited_on_dev(made):
    """The plan of a sweep knows of no devtest; a copy of a finished plan without one stands for it."""
    store, suite, _ = made
    plan = store.plans.read("quickstart")
    evaluate = {**plan["suite"]["evaluate"], "split": "dev"}
    task = {**plan["suite"]["task"], "dev_size": 5, "devtest_files": "nowhere"}
    scored = {**plan["suite"], "evaluate": evaluate, "task": task}
    store.plans.write("dev", {**plan, "suite": scored, "data": {"default": {}}})
    (found,) = certify_suite(store, "dev", smoothing=Smoothing(positions=0))
    wanted = build_task(suite.tasks["default"].model_copy(update={"dev_size": 5})).read("dev")
    assert found["sentences"] == 5
    assert found["text"] == wanted.digest


def test_the_model_is_found_as_the_suite_asks_and_as_the_plan_pinned_it(made, monkeypatch):
    store, *_ = made
    plan = store.plans.read("quickstart")
    model = {**plan["suite"]["model"], "revision": "main", "trust_remote_code": True}
    pinned = {"name": "tiny-base", "revision": "c0ffee"}
    store.plans.write(
        "pinned", {**plan, "suite": {**plan["suite"], "model": model}, "model": pinned}
    )

    def find(spec):
        asked.append(spec)
        raise ModelError("enough")

    asked = []
    monkeypatch.setattr("ksl_bench.audit.suites.find_model", find)
    with pytest.raises(ModelError, match="enough"):
        certify_suite(store, "pinned", smoothing=Smoothing(positions=0))
    assert asked == [ModelSpec(name_or_path="tiny-base", revision="c0ffee", trust_remote_code=True)]


def test_a_suite_without_a_transfer_is_told_so(ksl, made):
    store, *_ = made
    plan = store.plans.read("quickstart")
    rows = [one for one in plan["rows"] if one["baseline"] != "ks_transfer_k18"]
    store.plans.write("other", {**plan, "rows": rows})
    done = ksl("certify", "--suite", "other", "--storage", store.root)
    assert done.returncode == 2
    assert "no finished KS ticket under partial_transfer" in done.stderr
