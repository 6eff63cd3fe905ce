"""What of a run is ready, queued: one task after the other, or all of them at once."""

import heapq
from collections.abc import Iterable

from rayorch.core.flow import Flow
from rayorch.core.near import unpack_keys
from rayorch.core.queues import Routes
from rayorch.core.run import Run
from rayorch.core.task import COMMITTED, READY, WAITING, Task
from rayorch.ids import TaskId


def queue(run: Run, flow: Flow, task: Task, *, alone: bool) -> None:
    """Queue a ready task under its class; a suspect, to run alone, apart from the others."""
    if not alone:
        _queue_all(run, flow, (task.id,))
    elif task.stage in run.unplanned:
        flow.aside.setdefault(task.stage, []).append(task.id)
    else:
        flow.lane_of[task.stage].suspects.add(task.id, flow.routes.class_of(task.id))


def _queue_all(run: Run, flow: Flow, ready: Iterable[TaskId]) -> None:
    """Queue ready tasks, in this order. A plan for a million comes with all of them ready."""
    tasks, unplanned, lane_of = run.tasks, run.unplanned, flow.lane_of
    for task_id, number in flow.routes.numbered(ready):
        stage = tasks[task_id].stage
        if stage in unplanned:
            flow.aside.setdefault(stage, []).append(task_id)
        elif flow.keys:
            key = flow.key_of(stage, task_id - run.first_tasks[stage])
            lane_of[stage].ready.add(task_id, number, key)
        else:
            lane_of[stage].ready.add(task_id, number)


def requeue(run: Run, flow: Flow) -> None:
    """Queue again what is ready, by other classes."""
    for lane in flow.lanes:
        ready, suspects = list(lane.ready), list(lane.suspects)
        lane.ready.clear()
        lane.suspects.clear()
        _queue_all(run, flow, ready)
        for task_id in suspects:
            queue(run, flow, run.tasks[task_id], alone=True)


def flow_of(run: Run) -> Flow:
    """Return the volatile side of a run that nobody works on: what is open is ready or waits."""
    flow = Flow(run.stages, run.placement)
    flow.keys = {stage: unpack_keys(keys) for stage, keys in run.keys.items()}
    counts, ready = flow.counts, []
    for task in run.tasks:
        state = task.state
        counts[task.stage][state] += 1
        if state is COMMITTED:
            continue
        if state is READY:
            # A suspect whose stage is not planned yet waits in line with the others.
            if not task.strikes or task.stage in run.unplanned:
                ready.append(task.id)
            else:
                queue(run, flow, task, alone=True)
        elif state is WAITING:
            heapq.heappush(flow.waiting, (task.since_s, task.id))
    _queue_all(run, flow, ready)
    flow.done = done_of(run, flow.routes)
    return flow


def done_of(run: Run, routes: Routes) -> dict[int, int]:
    """Return how many tasks of each class are committed."""
    return routes.counted([task.id for task in run.tasks if task.state is COMMITTED])
