"""`explain RUN TASK`: what one task read, where it could go, where it went, what it cost."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import click
import msgspec

from connectors.splits import Discovery, FilePart, Split
from rayorch.cli.errors import NoTaskError
from rayorch.cli.exchanges import find_plan, reduce_document, reduce_lines, sides_of_stage
from rayorch.cli.followed import Followed, followed_of, why_unplaced
from rayorch.cli.options import Options
from rayorch.cli.printing import LABEL, print_document, print_section, print_table
from rayorch.cli.story_lines import story_lines
from rayorch.client import Connection
from rayorch.core.facts import AttemptFinished, Event
from rayorch.core.placed import ClassPlacement
from rayorch.core.run import Run
from rayorch.core.story import story
from rayorch.core.task import Task, TaskState
from rayorch.core.values import SinkResult
from rayorch.exchange.splits import load_split
from rayorch.home import RunPlan, decode_split
from rayorch.ids import RunId, TaskId
from rayorch.looking import HomeReader
from rayorch.observe.figures import bytes_text, count_text, counted, seconds_text, usd_text
from rayorch.observe.outcome import AttemptCost, attempts_of, class_of, outcome_of
from rayorch.observe.waits import WaitView, wait_of

PARTS_SHOWN_MAX: Final = 20

Lines = Iterator[tuple[str, str]]


def explain_task(
    options: Options, at: Connection, reader: HomeReader, run: Run, plan: RunPlan | None
) -> None:
    """Print why a task went as it did. Raises: NoTaskError."""
    number = options.task
    assert number is not None
    count = sum(run.task_counts)
    if number >= count or plan is None:
        raise NoTaskError(run.id, number, count)
    stage = _stage_index(run, number)
    lines, read = _task_input(at, run, plan, stage, number)
    events = reader.events
    told = [line for line in story(events, run.id, TaskId(number)) if line.task == number]
    task = run.tasks[number] if number < len(run.tasks) else None
    wait = wait_of(reader.machine, run)
    placed = class_of(run, reader.machine.flows[run.id], TaskId(number))
    followed = followed_of(at, run, outcome_of(events, run.id))
    attempts = attempts_of(events, run.id, TaskId(number))
    name = run.stages[stage].name
    if options.as_json:
        document = {
            "run": run.id,
            "task": number,
            "stage": name,
            "state": _task_state(run, task, wait),
            **read,
            "failures": task.failures if task else 0,
            "strikes": task.strikes if task else 0,
            "class": None if placed is None else msgspec.to_builtins(placed),
            "pools": _pool_documents(followed, name),
            "attempts": msgspec.to_builtins(attempts),
            "story": told,
        }
        print_document(document)
        return
    click.echo(f"task {number} of {run.id}: {_task_state(run, task, wait)}")
    click.echo(f"  {'stage':<{LABEL}}{name}")
    print_section("input", lines)
    print_section("placement", _placement_lines(followed, run, name, placed))
    _print_attempts(attempts)
    print_section("what happened", story_lines(told, run.submitted_s))
    print_section("what it committed", _commit_lines(run, _commit(events, run.id, number)))


# --- where it could go, and where it went ---------------------------------------------------------


def _stage_choice(followed: Followed, stage: str) -> dict[str, Any] | None:
    stages = [] if followed.first is None else followed.first["stages"]
    return next((each for each in stages if each["name"] == stage), None)


def _pool_documents(followed: Followed, stage: str) -> list[dict[str, Any]]:
    """Return the pools that were considered for a stage, those chosen first."""
    choice = _stage_choice(followed, stage)
    if choice is None:
        return []
    tasks = max(1, choice["tasks"])
    return [
        {
            "pool": use["pool"],
            "is_chosen": use in choice["chosen"],
            "reason": use["reason"],
            "seconds_per_task": use["task_s"] or None,
            "usd_per_task": None if use["usd"] is None else _whole_usd(use) / tasks,
            "loss": use["loss"],
        }
        for use in (*choice["chosen"], *choice["lost"])
    ]


def _whole_usd(use: dict[str, Any]) -> float:
    """Return the dollars of a whole stage on a pool."""
    return float(use["usd"] + (use["egress_usd"] or 0.0))


def _placement_lines(
    followed: Followed, run: Run, stage: str, placed: ClassPlacement | None
) -> Lines:
    unplaced = why_unplaced(run)
    if unplaced:
        yield "none", unplaced
        return
    if placed is None:
        yield "none", "no class covers this task: it went to any runner"
        return
    yield "class", f"{placed.name}, {counted(placed.tasks, 'task')} that are alike"
    label = "may go to"
    for pool, expected_s in zip(placed.pools, placed.expected_s, strict=False):
        yield label, f"{pool}: {seconds_text(expected_s)} expected"
        label = ""
    label = "pools"
    for each in _pool_documents(followed, stage):
        yield label, _pool_text(each)
        label = ""


def _pool_text(each: dict[str, Any]) -> str:
    parts = []
    if each["seconds_per_task"] is not None:
        parts.append(f"{seconds_text(each['seconds_per_task'])} a task")
    if each["usd_per_task"] is not None:
        parts.append(f"{usd_text(each['usd_per_task'])} a task")
    if each["loss"] > 0.0:
        parts.append(f"{each['loss']:.0%} chance to be taken back")
    told = f" ({', '.join(parts)})" if parts else ""
    return f"{each['pool']}: {each['reason']}{told}"


def _print_attempts(attempts: Sequence[AttemptCost]) -> None:
    if not attempts:
        return
    rows = [
        (
            str(each.attempt),
            each.pool or "any",
            f"{each.how} ({each.kind})" if each.kind else each.how,
            seconds_text(each.duration_s),
            "" if each.expected_s is None else seconds_text(each.expected_s),
            usd_text(each.usd),
        )
        for each in attempts
    ]
    click.echo("\nattempts, and what each was charged")
    print_table(("attempt>", "pool", "ended", "took>", "expected>", "cost>"), rows, indent="  ")


# --- what it read and wrote -----------------------------------------------------------------------


def _task_input(
    at: Connection, run: Run, plan: RunPlan, stage: int, task: int
) -> tuple[Lines, dict[str, Any]]:
    """Return what a task reads, as lines and as a document."""
    read: dict[str, Any] = {"split": None, "roots": [], "exchange": None}
    number = task - run.first_tasks.get(stage, TaskId(sum(run.task_counts[:stage])))
    own = run.splits.get(TaskId(task))  # Of a task that was cut, or that has what another left.
    if not run.stages[stage].after:
        discovery = plan.stages[stage].discovery
        split = decode_split(own or plan.stages[stage].works[number])
        read |= {"split": msgspec.to_builtins(split), "roots": list(discovery.roots)}
        return _input_lines(discovery, split), read
    divided = find_plan(at.home, run, stage)
    if divided is None:
        return iter(()), read
    taken = divided.split(number) if own is None else load_split(decode_split(own).taken)
    sides = sides_of_stage(run, stage, len(taken.sides))
    return reduce_lines(taken, sides), {**read, "exchange": reduce_document(taken, sides)}


def _commit(events: Sequence[Event], run: RunId, task: int) -> AttemptFinished | None:
    """Return the report that counts: the first one."""
    for event in events:
        fact = event.fact
        if isinstance(fact, AttemptFinished) and (fact.run, fact.task) == (run, task):
            return fact
    return None


def _stage_index(run: Run, task: int) -> int:
    """Return the stage of a task: those of a stage that was planned late are numbered last."""
    if task < len(run.tasks):
        return run.tasks[task].stage
    counted_up = list(accumulate(run.task_counts, initial=0))
    for stage, count in enumerate(run.task_counts):
        first = run.first_tasks.get(stage, counted_up[stage])
        if first <= task < first + count:
            return stage
    raise AssertionError(f"task {task} of {run.task_counts}")


def _task_state(run: Run, task: Task | None, wait: WaitView | None) -> str:
    if task is None:
        # A run that has ended and been swept lets go of its tasks.
        return "committed" if run.state.value == "succeeded" else run.state.value
    if wait is not None and task.state is TaskState.READY and task.stage in wait.stages:
        return f"blocked ({wait.cause}): {wait.text}"
    kind = f" ({task.failed_kind})" if task.failed_kind else ""
    return f"{task.state.value}{kind}"


def _input_lines(discovery: Discovery, split: Split) -> Lines:
    if not split.parts:
        yield "rows", f"{count_text(split.lo)} to {count_text(split.hi)}"
    for part in split.parts[:PARTS_SHOWN_MAX]:
        yield "file", f"{discovery.roots[part.root]}/{part.key}{_slice(part)}"
    more = len(split.parts) - PARTS_SHOWN_MAX
    if more > 0:
        yield "", f"and {counted(more, 'file')} more"
    if split.parts:
        rows = "" if split.rows is None else f", {counted(split.rows, 'row')}"
        yield "size", f"{bytes_text(split.size_bytes)}{rows}"


def _slice(part: FilePart) -> str:
    rows = ""
    if part.first or part.last:
        end = count_text(part.last) if part.last else "the end"
        rows = f", rows {count_text(part.first)} to {end}"
    if part.row_groups is not None:
        return f", row groups {', '.join(map(str, part.row_groups))}{rows}"
    if part.start or part.end:
        return f", bytes {count_text(part.start)} to {count_text(part.end)}{rows}"
    return rows


def _commit_lines(run: Run, fact: AttemptFinished | None) -> Lines:
    if fact is None:
        return
    output = fact.output
    took = output.seconds
    yield "rows", f"{count_text(output.rows_in)} in"
    for result in output.results:
        yield "wrote", _result_text(run, result)
    for part in output.parts:
        yield "exchange", f"{counted(part.rows, 'row')}, {bytes_text(part.size_bytes)} written"
    spent = (("read", took.read_s), ("compute", took.compute_s), ("write", took.write_s))
    yield "seconds", ", ".join(f"{name} {seconds_text(spent_s)}" for name, spent_s in spent)
    yield "memory", f"{bytes_text(output.memory_bytes)} at most"


def _result_text(run: Run, result: SinkResult) -> str:
    rows = counted(result.rows, "row")
    return f"{rows}, {bytes_text(result.size_bytes)} for {run.sinks[result.sink]}"
