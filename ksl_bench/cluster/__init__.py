"""Ray: a pool of long-lived Ray Train worker groups that pull work from the driver.

Each group is one `TorchTrainer` whose training function never trains one thing: it asks the desk (an
actor) for work, builds it, says how it went, and asks again. Start-up is paid once a group, not once a
run. When a worker dies, Ray Train restarts its group, and the desk hands out again what the group was
at; after too many losses the work counts as failed. Nothing is remembered here beyond the queue: what
is finished is in the store.
"""

from ksl_bench.cluster.capacity import check_this_machine, shortage
from ksl_bench.cluster.connection import beside_the_driver, connect, disconnect, passed_on
from ksl_bench.cluster.growth import Room
from ksl_bench.cluster.pool import RayPool
from ksl_bench.cluster.shared import check_shared

__all__ = [
    "RayPool",
    "Room",
    "beside_the_driver",
    "check_shared",
    "check_this_machine",
    "connect",
    "disconnect",
    "passed_on",
    "shortage",
]
