"""LoTA on a first task, then all that its mask leaves: through a real worker, small."""

import torch
from safetensors.torch import load

from ksl_bench.benchmark import Execution
from ksl_bench.in_process import InProcessPool
from ksl_bench.lottery.mask import read_selection
from ksl_bench.methods.scope import linear_layers
from ksl_bench.models import find_model, load_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite

SETTINGS = [
    "seeds=[0]",
    "sequence=[eng_cat, eng_deu]",
    "task.train_size=16",
    "task.devtest_size=2",
    "evaluate.decoding.max_new_tokens=4",
    "evaluate.bootstrap_samples=100",
    "baselines=[lota_calibration, lota_then_rest]",
    "train.steps=3",
    "train.learning_rate=0.01",
]


def test_the_second_step_trains_every_entry_outside_the_first_mask(tmp_path):
    store, suite = Store(str(tmp_path)), load_suite("sequence", SETTINGS)
    plan = make_plan(suite, find_model(suite.model))
    tally = Execution(plan, store, retry=False).run(InProcessPool(plan, store))
    assert tally.complete, tally
    assert Execution(plan, store, retry=False).run(InProcessPool(plan, store)).complete
    rows = {row.condition: row for row in plan.rows if row.baseline == "lota_then_rest"}
    first, second = (
        read_selection(store.read_ticket(rows[step].ticket_key)).places
        for step in ("eng_cat", "eng_cat+eng_deu")
    )
    for at, layer in linear_layers(load_model(plan.setting.model, precision="fp32")).items():
        both = torch.cat([one[at] for one in (first, second) if at in one]).sort().values
        assert torch.equal(both, torch.arange(layer.weight.numel())), at
    state = load(store.read_bytes("state", rows["eng_cat+eng_deu"].state_key, "state.safetensors"))
    assert sum(one.numel() for one in state.values()) == sum(map(len, second.values()))
