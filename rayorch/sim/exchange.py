"""Simulated exchange files: who wrote what, which plan names it, and what is gone."""

from typing import NamedTuple

from rayorch.core.run import Run
from rayorch.core.values import ExchangeResult, WrittenBy
from rayorch.errors import InvariantError
from rayorch.ids import Epoch, RunId, TaskId

Writers = tuple[WrittenBy, ...]


class Sources(NamedTuple):
    """The files that a stage reads: as they are listed, and to look one up."""

    listed: Writers = ()
    known: frozenset[WrittenBy] = frozenset()


class SimExchange:
    """The exchange files of all runs, by the attempt that wrote them."""

    def __init__(self) -> None:
        self._plans: dict[tuple[RunId, int, int], Writers] = {}
        self._newest: dict[tuple[RunId, int], Sources] = {}
        self._gone: dict[RunId, set[WrittenBy]] = {}

    @staticmethod
    def written(writer: WrittenBy) -> tuple[ExchangeResult, ...]:
        """Return what an attempt reports of its file."""
        text = f"{writer.task}/{writer.attempt}/{writer.epoch}"
        return (ExchangeResult(exchange=0, side=0, rows=1, size_bytes=8, payload=text.encode()),)

    def plan(self, run: Run, stage: int, revision: int) -> Writers:
        """Cut a stage from the files that are committed; planned twice, the first plan counts."""
        if revision <= run.revision_of(stage):
            return ()  # Some of it was lost in the same batch of news: the answer will be none.
        before = run.stages[stage].after
        tasks = [task for task in sorted(run.parts) if run.tasks[task].stage in before]
        found = [_writer(part) for task in tasks for part in run.parts[task]]
        wanted = [task.id for task in run.tasks if task.stage in run.stages[stage].after]
        if [writer.task for writer in found] != wanted:
            raise InvariantError("a stage is cut from each task before it once", f"{found}")
        plan = self._plans.setdefault((run.id, stage, revision), tuple(found))
        self._newest[run.id, stage] = Sources(plan, frozenset(plan))
        return plan

    def sources(self, run: RunId, stage: int) -> Sources:
        """Return the files that an attempt of a stage reads, as it is planned now."""
        return self._newest.get((run, stage), Sources())

    def missing(self, run: RunId, sources: Sources) -> Writers:
        """Return those of the files that cannot be read."""
        gone = self._gone.get(run)
        if not gone:
            return ()
        return tuple(sorted(gone & sources.known, key=lambda writer: writer.task))

    def lose(self, run: RunId, writer: WrittenBy) -> None:
        """Lose or corrupt a file."""
        self._gone.setdefault(run, set()).add(writer)

    def collect(self, run: Run, stage: int) -> None:
        """Delete what a stage has read, if it is the one that the files were written for."""
        before = set(run.stages[stage].after)
        if any(before & set(shape.after) for shape in run.stages[stage + 1 :]):
            return
        for writer in self.sources(run.id, stage).listed:
            self.lose(run.id, writer)


def _writer(part: ExchangeResult) -> WrittenBy:
    task, attempt, epoch = part.payload.decode().split("/")
    return WrittenBy(TaskId(int(task)), int(attempt), Epoch(int(epoch)))
