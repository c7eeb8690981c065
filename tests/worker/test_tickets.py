"""Tickets as a worker makes them: what is read for them is what the row is tuned on."""

import pytest
import torch

from ksl_bench.lottery.mask import read_selection
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.training.loop import Worker
from ksl_bench.worker.tickets import build_ticket
from ksl_bench.worker.warm import Warm

SHARE = 0.05
BASELINES = """baselines=[
  {{recipe: random_k18, train: {{data_share: {0}}}}},
  {{recipe: frequency_k18, train: {{data_share: {0}}}}},
  {{recipe: gradient_k18, train: {{data_share: {0}}}}},
]"""


def plan(share):
    suite = load_suite("quickstart", ["seeds=[0]", "task.train_size=100", BASELINES.format(share)])
    return make_plan(suite, find_model(suite.model))


def tickets(plan):
    return [work for work in plan.works.values() if work.kind == "ticket"]


def test_a_row_that_is_tuned_on_a_share_has_a_ticket_of_that_share(tmp_path):
    shared, store = plan(SHARE), Store(str(tmp_path))
    warm = Warm(shared.setting, store, Worker(device=torch.device("cpu")))
    for work in tickets(shared):
        assert build_ticket(warm, work).status == "finished"
        read = warm.encoded(work.task, work.baseline.train.max_seq_length)[:5]  # of a hundred
        seen = {token for one in read for token in (*one.prompt_ids, *one.response_ids)}
        picked = set(read_selection(store.read_ticket(work.key)).token_ids)
        assert len(picked) == 18
        assert picked <= seen


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_tickets_of_another_share_are_other_tickets(share):
    whole, part = ({one.key for one in tickets(plan(each))} for each in (1.0, share))
    assert len(whole) == len(part) == 3
    assert not whole & part
