"""Search spaces: which fields of which baselines are searched, how, and for what.

A space names a suite and, for some of its baselines, domains of their fields. Each choice becomes a
baseline of its own in a suite that is scored on dev, never on devtest, so trials are planned, kept and
shown as the rows of any suite, and share with suites whatever they have in common.
"""

from ksl_bench.space.choices import Space, label, load_space
from ksl_bench.space.spec import Domain, SpaceSpec

__all__ = ["Domain", "Space", "SpaceSpec", "label", "load_space"]
