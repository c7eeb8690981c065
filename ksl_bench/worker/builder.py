"""One piece of work, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable

from ksl_bench import measure
from ksl_bench.pack import Pack
from ksl_bench.plan import Setting, Work
from ksl_bench.store import Store
from ksl_bench.tasks import build_task
from ksl_bench.tasks.detection import Detection
from ksl_bench.training.loop import Worker
from ksl_bench.worker.detection import build_detection
from ksl_bench.worker.evaluations import build_evaluation
from ksl_bench.worker.outcome import Outcome, Report
from ksl_bench.worker.packs import ReportOf, build_pack
from ksl_bench.worker.states import build_state
from ksl_bench.worker.tickets import build_ticket
from ksl_bench.worker.warm import Warm


class Builder:
    """Makes artifacts on one worker, with the base model kept warm."""

    def __init__(self, setting: Setting, store: Store, worker: Worker) -> None:
        """Take what all work of a suite shares; nothing is loaded yet."""
        self.worker = worker
        self._warm = Warm(setting, store, worker)

    def build(self, work: Work, report: Report = lambda progress: None) -> Outcome:
        """Make one artifact; a collective call.

        Raises:
            Exception: Whatever went wrong; `classify` gives its status.
        """
        measure.reset_peak_memory(self.worker.device)
        if work.kind == "state":
            return build_state(self._warm, work, report)
        if work.kind == "ticket":
            return build_ticket(self._warm, work)
        task = build_task(work.task)
        if isinstance(task, Detection):
            return build_detection(self._warm, work, task, report)
        return build_evaluation(self._warm, work, report)

    def build_pack(
        self,
        pack: Pack,
        report_of: ReportOf = lambda key: lambda progress: None,
        tell: Callable[[Outcome], None] = lambda outcome: None,
    ) -> list[Outcome]:
        """Make several states together; a collective call.

        Args:
            pack: The states.
            report_of: By key: told how far that state is.
            tell: Told of each outcome once it is certain: what breaks later does not undo it.

        Raises:
            Exception: Whatever went wrong with the pack as a whole.
        """
        outcomes = []
        for outcome in build_pack(self._warm, pack, report_of):
            tell(outcome)
            outcomes.append(outcome)
        return outcomes
