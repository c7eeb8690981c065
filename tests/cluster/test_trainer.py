"""What Ray Train is told to start."""

from ray import cloudpickle

from ksl_bench.cluster.group import Order
from ksl_bench.cluster.pool import _trainer
from ksl_bench.models import find_model
from ksl_bench.plan import make_plan
from ksl_bench.store import Store
from ksl_bench.suite import load_suite
from ksl_bench.worker.builder import Builder


def test_what_a_controller_opens_names_no_module_that_loads_the_model_code(tmp_path):
    suite = load_suite("quickstart", ["baselines=[base]"])
    setting = make_plan(suite, find_model(suite.model)).setting
    order = Order("desk", 0, setting, str(tmp_path), None, Builder)
    trainer = _trainer(suite, Store(str(tmp_path)), order)
    assert b"ksl_bench.worker" in cloudpickle.dumps(trainer._get_train_func())
    opened = cloudpickle.dumps(trainer.train_run_context)
    assert b"ksl_bench.cluster.rendezvous" in opened
    for heavy in (b"ksl_bench.worker", b"ksl_bench.cluster.group", b"ksl_bench.plan"):
        assert heavy not in opened
