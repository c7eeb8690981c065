"""From YAML files and `--set` to one validated suite, with every problem reported at once.

A suite lists its baselines by the names of recipes; what it adds to a recipe, and what `--set` changes,
is joined here. The order, later wins: the suite's `train`, the recipe, the suite's entry for it,
`--set baselines.<name>...`, `--set train...`.
"""

from ksl_bench.suite.build import build_suite, load_suite
from ksl_bench.suite.files import available, find_file, read_yaml
from ksl_bench.suite.layers import parse_set
from ksl_bench.suite.schedule import new_seeds, with_new_seeds

__all__ = [
    "available",
    "build_suite",
    "find_file",
    "load_suite",
    "new_seeds",
    "parse_set",
    "read_yaml",
    "with_new_seeds",
]
