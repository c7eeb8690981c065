"""MLflow as a projection of the store: what the records say, brought up to date as often as one likes.

One experiment a suite, one flat run a row (baseline and seed), and one run for the leaderboard. The same call
serves while a suite runs and long after: a run is found again by its tags, nothing is logged twice.
"""

from ksl_bench.tracking.client import tracking_uri
from ksl_bench.tracking.sync import Tracker
from ksl_bench.tracking.thread import TrackingThread

__all__ = ["Tracker", "TrackingThread", "tracking_uri"]
