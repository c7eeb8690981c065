"""From a suite to a plan: the artifacts that its rows need, each known by its key."""

from ksl_bench.plan.artifacts import NUMERICS
from ksl_bench.plan.planner import make_plan
from ksl_bench.plan.rows import Plan, Row
from ksl_bench.plan.text import Text, Texts
from ksl_bench.plan.work import Ballot, Kind, Setting, Source, Step, Work

__all__ = [
    "NUMERICS",
    "Ballot",
    "Kind",
    "Plan",
    "Row",
    "Setting",
    "Source",
    "Step",
    "Text",
    "Texts",
    "Work",
    "make_plan",
]
