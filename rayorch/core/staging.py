"""Stages that read what other stages wrote: planned when it is measured, revoked when it is lost.

    all tasks before it committed ── PlanStage ──> StagePlanned: its tasks are made, or made again
    (also of a stage of files that waits, once; of no tasks, when its readers read the files)
    a task cannot read an exchange file ── the task that wrote it is ready again; the reader waits

A stage is *open* once it is planned and nothing that it reads has been lost since. Tasks of a
stage that is not open are kept aside (`Flow.aside`) until it is planned anew.
"""

from collections.abc import Iterable
from typing import Final

from rayorch.core import placing
from rayorch.core.book import Book
from rayorch.core.commands import CollectExchange, Command, PlanStage, Record
from rayorch.core.facts import AttemptFailed, Event, RunFailed, StagePlanned
from rayorch.core.flow import Flow
from rayorch.core.near import unpack_keys
from rayorch.core.run import ENDED, Run, RunState
from rayorch.core.task import COMMITTED, READY, OutputLost, Task, step
from rayorch.core.values import ErrorInfo
from rayorch.core.wanting import ensure_runners
from rayorch.ids import EventId, TaskId

REVIVALS_MAX: Final = 5
"""How often a task's exchange file may be lost before its run is given up."""


def open_stage(book: Book, fact: StagePlanned, event: Event) -> Iterable[Command]:
    """Make the tasks of a stage, or let those go on that waited for lost input."""
    run, flow = book.run(fact), book.flows[fact.run]
    flow.planning.discard(fact.stage)
    is_news = fact.stage in run.unplanned and fact.revision == run.revision_of(fact.stage) + 1
    if run.state in ENDED or not is_news:
        return  # Planned by somebody else, or out of date: something was lost meanwhile.
    run.revisions[fact.stage] = fact.revision
    run.unplanned.remove(fact.stage)
    run.notes[fact.stage] = fact.notes
    if fact.together > 1:
        run.together[fact.stage] = fact.together
    if fact.parted and fact.stage not in run.parted:
        run.parted.append(fact.stage)
    if not run.task_counts[fact.stage]:
        _make_tasks(run, flow, fact)
        for task in run.tasks[run.first_tasks[fact.stage] :]:
            book.offer(run, task)
    else:
        for task_id in flow.aside.pop(fact.stage, ()):
            book.offer(run, run.tasks[task_id])
    if run.state is RunState.RUNNING:
        yield from ensure_runners(run, flow, event.id, event.at_s)
        if run.placement is not None and run.placement.is_reviewed and not flow.solving:
            yield placing.solve(book, run, event.id, event.at_s)


def advance(run: Run, flow: Flow, cause: EventId) -> Iterable[Command]:
    """Plan the stages whose input is complete, and collect the files that nobody reads any more."""
    for stage in run.unplanned:
        if stage not in flow.planning and all(
            is_complete(run, flow, each) for each in run.before(stage)
        ):
            flow.planning.add(stage)
            yield PlanStage(cause, run.id, stage, run.revision_of(stage) + 1)
    for stage, shape in enumerate(run.stages):
        if shape.after and stage not in flow.collected and is_complete(run, flow, stage):
            flow.collected.add(stage)
            yield CollectExchange(cause, run.id, stage)


def is_complete(run: Run, flow: Flow, stage: int) -> bool:
    """Say whether a stage is planned and all of its tasks are committed."""
    if stage in run.unplanned:
        return False
    return flow.counts[stage][COMMITTED] == run.task_counts[stage]


def revoke(book: Book, run: Run, fact: AttemptFailed, event: Event) -> Iterable[Command]:
    """Make the tasks ready again whose exchange files could not be read."""
    flow = book.flows[run.id]
    reader = run.tasks[fact.task].stage
    for lost in fact.lost:
        task = run.tasks[lost.task] if 0 <= lost.task < len(run.tasks) else None
        # Only what the reader reads can be lost to it, and only by the attempt that wrote it:
        # another may have written it anew.
        if task is None or task.state is not COMMITTED:
            continue
        if task.stage not in run.stages[reader].after:
            continue
        if (task.attempt, task.epoch) != (lost.attempt, lost.epoch):
            continue
        after = step(task, OutputLost(), run.retry, event.at_s)
        book.put(run, after)
        run.committed -= 1
        run.parts.pop(task.id, None)
        flow.collected.discard(reader)
        _close(run, flow, task.stage)
        book.offer(run, after)
        if after.revived > REVIVALS_MAX and run.state is RunState.RUNNING:
            yield Record(event.id, RunFailed(run.id, _lost_for_good(run, task)))


def _lost_for_good(run: Run, task: Task) -> ErrorInfo:
    return ErrorInfo(
        message=(
            f"the exchange files of task {task.id} of stage {run.stages[task.stage].name!r} were "
            f"lost or corrupt {task.revived + 1} times"
        ),
        remedy="check the disk or bucket under the home (`rayorch doctor`), then resume",
        kind="transient",
    )


def _close(run: Run, flow: Flow, stage: int) -> None:
    """Let the stages that read a stage wait until it is complete again."""
    for index, shape in enumerate(run.stages):
        if stage not in shape.after:
            continue
        if index not in run.unplanned:
            run.unplanned.append(index)
            run.unplanned.sort()
        # What is being planned now is planned from what was lost: its answer must be no news.
        run.revisions[index] = run.revision_of(index) + 1
        flow.planning.discard(index)


def _make_tasks(run: Run, flow: Flow, fact: StagePlanned) -> None:
    if fact.keys:
        run.keys[fact.stage] = fact.keys
        flow.keys[fact.stage] = unpack_keys(fact.keys)
    counts = list(run.task_counts)
    counts[fact.stage] = fact.tasks
    run.task_counts = tuple(counts)
    first = len(run.tasks)
    run.first_tasks[fact.stage] = TaskId(first)
    run.tasks += [Task(id=TaskId(first + i), stage=fact.stage) for i in range(fact.tasks)]
    flow.counts[fact.stage][READY] += fact.tasks
