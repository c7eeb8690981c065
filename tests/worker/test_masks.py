"""LoTA through a real worker: calibrated on a share of the text, masked, trained, scored."""

import numpy as np
import pytest
from safetensors.torch import load

from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.leaderboard import as_markdown, read_board
from ksl_bench.lottery.mask import Mask, read_selection
from ksl_bench.methods.scope import linear_layers
from ksl_bench.models import find_model, load_model
from ksl_bench.plan import make_plan
from ksl_bench.report import as_html
from ksl_bench.store import Store
from ksl_bench.suite import load_suite

SETTINGS = [
    "seeds=[0]",
    "task.train_size=64",
    "task.devtest_size=4",
    "evaluate.decoding.max_new_tokens=8",
    "evaluate.bootstrap_samples=100",
    """baselines=[base,
    {recipe: lota_calibration, train: {learning_rate: 0.003, steps: 4, data_share: 0.25}},
    {recipe: lota_s90, train: {learning_rate: 0.003, steps: 4}},
    {recipe: lota_s99, train: {learning_rate: 0.003, steps: 4}},
    {recipe: lota_random_s90, train: {learning_rate: 0.003, steps: 4}},
    {recipe: lota_rest_s90, train: {learning_rate: 0.003, steps: 4}},
    ]""",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("store")))
    suite = load_suite("quickstart", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, store, retry=False).run(InProcessPool(plan, store))
    assert tally.complete, tally
    store.plans.write(suite.name, plan.record())
    return store, {row.baseline: row for row in plan.rows}, find_model(suite.model)


def mask_of(made, name):
    store, rows, _ = made
    return read_selection(store.read_ticket(rows[name].ticket_key))


def state_of(made, name):
    store, rows, _ = made
    return load(store.read_bytes("state", rows[name].state_key, "state.safetensors"))


@pytest.mark.parametrize(("name", "share"), [("lota_s90", 0.1), ("lota_s99", 0.01)])
def test_the_mask_is_the_global_top_of_the_task_vector(made, name, share):
    mask = mask_of(made, name)
    tuned = state_of(made, "lota_calibration")
    base = linear_layers(load_model(made[2], precision="fp32"))
    moved = [(tuned[f"{at}.weight"] - one.weight).detach().numpy() for at, one in base.items()]
    whole = np.abs(np.concatenate([one.ravel() for one in moved]))
    keep = round(share * whole.size)
    wanted = np.sort(np.argsort(-whole, kind="stable")[:keep])
    starts = dict(zip(base, np.cumsum([0, *[one.size for one in moved]])[:-1], strict=True))
    found = np.concatenate([one.numpy() + starts[at] for at, one in mask.places.items()])
    assert np.array_equal(np.sort(found), wanted)


def test_the_rest_is_every_entry_that_the_mask_leaves_and_it_alone_trains(made):
    kept, rest = mask_of(made, "lota_s90"), mask_of(made, "lota_rest_s90")
    layers = linear_layers(load_model(made[2], precision="fp32"))
    for at, one in layers.items():
        both = np.concatenate(
            [mask.places[at].numpy() for mask in (kept, rest) if at in mask.places]
        )
        assert np.array_equal(np.sort(both), np.arange(one.weight.numel())), at
    values = sum(one.numel() for one in state_of(made, "lota_rest_s90").values())
    assert values == sum(one.numel() for one in rest.places.values())


def test_the_calibration_saw_its_share_of_the_text_and_lota_all_of_it(made):
    store, rows, _ = made
    seen = {
        name: store.record("state", rows[name].state_key)["examples"]
        for name in ("lota_calibration", "lota_s90")
    }
    assert seen == {"lota_calibration": 16, "lota_s90": 64}


def test_a_state_holds_the_kept_entries_and_nothing_else(made):
    for name in ("lota_s90", "lota_s99", "lota_random_s90"):
        mask, state = mask_of(made, name), state_of(made, name)
        assert isinstance(mask, Mask)
        assert {f"{at}.delta_M": len(one) for at, one in mask.places.items()} == {
            at: one.numel() for at, one in state.items()
        }
        assert all(one.abs().sum() > 0 for one in state.values())


def test_random_entries_are_as_many_and_others(made):
    one, other = mask_of(made, "lota_s90"), mask_of(made, "lota_random_s90")
    assert one.entries == other.entries
    shared = sum(
        int(np.isin(one.places[at].numpy(), other.places[at].numpy()).sum())
        for at in one.places.keys() & other.places.keys()
    )
    # A tenth of them by chance; the standard deviation is under 100.
    assert abs(shared - one.entries / 10) < 500


def test_the_board_and_the_report_show_them_with_what_the_calibration_cost(made):
    store, rows, _ = made
    board = read_board(store, "quickstart")
    shown = {row["baseline"]: row for row in board.rows}
    assert {row["status"] for row in shown.values()} == {"finished"}
    assert shown["lota_s90"]["trainable_parameters"] == mask_of(made, "lota_s90").entries
    calibrated = store.record("state", rows["lota_calibration"].state_key)["cost"]["train_seconds"]
    assert shown["lota_s90"]["cost"]["selection_seconds"] >= calibrated
    # The rest rests on the mask that it leaves out, and on the calibration that was found in.
    selected = [
        store.record("ticket", rows[name].ticket_key)["cost"]["selection_seconds"]
        for name in ("lota_s90", "lota_rest_s90")
    ]
    rest = store.record("evaluation", rows["lota_rest_s90"].evaluation_key)["cost"]
    assert rest["selection_seconds"] == pytest.approx(calibrated + sum(selected))
    assert "| lota_s99 |" in as_markdown(board)
    assert "lota_s99" in as_html(board, store)
