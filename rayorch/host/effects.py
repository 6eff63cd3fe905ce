"""Slow work that the machine asks for: plan, place, publish, compare schemas, sweep.

Each runs on a thread of a small pool and comes back as a fact. What it needs of a run is copied
in the host's thread before it starts, because the run goes on changing.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from connectors.data_errors import OutputSchemaConflictError
from connectors.errors import ConnectorError
from connectors.outputs import SinkOutput
from connectors.schema import dump_schema
from connectors.sink import merge_output_schemas, open_sink
from rayorch.clock import Clock
from rayorch.core.commands import (
    CollectExchange,
    CompareSchemas,
    MakePlan,
    PlanStage,
    PublishSink,
    SolvePlacement,
    SweepRun,
)
from rayorch.core.facts import (
    Fact,
    PlacementReady,
    PlanFailed,
    PublishFailed,
    RunFailed,
    RunSwept,
    SinkPublished,
)
from rayorch.core.placed import PoolPrice
from rayorch.core.run import Run
from rayorch.core.task import TaskState
from rayorch.core.values import ExchangeResult, WrittenBy
from rayorch.errors import OutputsDisagreeError, PoolsError, RayorchError
from rayorch.failpoints import failpoint
from rayorch.home import Home
from rayorch.host.dividing import Written, plan_ready, plan_with_waits, planned_stage
from rayorch.host.executor import Room
from rayorch.host.failing import error_info
from rayorch.ids import RunId
from rayorch.plan.history import expected_of, load_histories, put_expected
from rayorch.plan.needs import check_needs
from rayorch.plan.planner import make_plan
from rayorch.plan.unplaced import Unplaced, unplaced
from rayorch.program import Program, load_program

if TYPE_CHECKING:
    from rayorch.host.placer import Placer

THREADS: Final = 4
PUBLISH_TRIES_MAX: Final = 8
"""Tries of a publication whose error says that the same call may work later."""
PUBLISH_PAUSE_S: Final = 1.0
PUBLISH_PAUSE_S_MAX: Final = 60.0

Effect = (
    MakePlan
    | PlanStage
    | CollectExchange
    | SolvePlacement
    | CompareSchemas
    | PublishSink
    | SweepRun
)
logger = logging.getLogger(__name__)

Offer = Callable[[Sequence[Fact]], object]

_SINK_OUTPUT: Final = msgspec.json.Decoder(SinkOutput)


class Effects:
    """Carries out the commands that take long and need no runner."""

    def __init__(self, home: Home, room: Room, offer: Offer, clock: Clock) -> None:
        self._home = home
        self._room = room
        self._offer = offer
        self._clock = clock
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rayorch-effect")
        self._tries: dict[tuple[RunId, int], int] = {}
        self._planning: set[RunId] = set()
        # One thread: a search takes a core for seconds, and must not keep publications waiting.
        self._searches = ThreadPoolExecutor(1, thread_name_prefix="rayorch-placement")
        self._placer: Placer | None = None
        self._placing: set[RunId] = set()

    def start(self, command: Effect, run: Run) -> None:
        """Begin; the answer comes through `offer`. Host thread only."""
        match command:
            case MakePlan():
                # Stopped and resumed while its planner works: that one's answer serves. A second
                # plan would replace the first in the home, under the tasks that were cut by it.
                if run.id in self._planning:
                    return
                self._planning.add(run.id)
                self._submit(run.id, self._plan, run.id, run.version, run.submitted_s)
            case SolvePlacement():
                self._start_look(command, run)
            case PlanStage():
                written = _written(run, run.before(command.stage))
                waits = frozenset(run.waits)
                prices = run.placement.prices if run.placement is not None else ()
                get_usd = max((each.get_usd for each in prices), default=0.0)
                asked = (command, run.version, written, waits, get_usd)
                self._submit(run.id, self._plan_stage, *asked)
            case CollectExchange(stage=stage):
                self._submit(run.id, self._collect, run.id, stage)
            case CompareSchemas():
                some = [run.outputs.get(task, ()) for task in command.tasks]
                outputs = _outputs_of(some, command.sink)
                self._submit(run.id, self._compare, run.id, run.version, command.sink, outputs)
            case PublishSink():
                by_task = [run.outputs[task] for task in sorted(run.outputs)]
                outputs = _outputs_of(by_task, command.sink)
                self._submit(run.id, self._publish, command, run.version, outputs)
            case SweepRun():
                if self._placer is not None:
                    self._placer.forget(run.id)
                self._submit(run.id, self._sweep, run.id, run.version, tuple(run.outputs.values()))

    def _start_look(self, command: SolvePlacement, run: Run) -> None:
        # One at a time: the answer to the first serves.
        if run.id in self._placing:
            return
        self._placing.add(run.id)
        done: tuple[int, ...] = ()
        if self._placer is None or not self._placer.knows(run.id):
            # The leader before this one had it in mind: what is left is told by the run.
            done = tuple(t.id for t in run.tasks if t.state is TaskState.COMMITTED)
        self._searches.submit(self._look, command, run.version, done)

    def close(self) -> None:
        """Let what runs end; start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._searches.shutdown(wait=False, cancel_futures=True)
        if self._placer is not None:
            self._placer.close()

    def _submit(
        self,
        run: RunId,
        work: Callable[..., Iterable[Fact]],
        *arguments: Any,  # noqa: ANN401 - each work has its own.
    ) -> None:
        def answer() -> None:
            try:
                facts = tuple(work(*arguments))
            except Exception as error:  # Nobody else would ever hear of it.
                facts = (RunFailed(run=run, error=error_info(error)),)
            if facts:
                self._offer(facts)

        self._pool.submit(answer)

    def _program(self, run: RunId, version: str) -> Program:
        return load_program(self._home.get_program(run, version))

    # --- each in a thread of its own -----------------------------------------------------------

    def _plan(self, run: RunId, version: str, submitted_s: float) -> Iterable[Fact]:
        try:
            program = self._program(run, version)
            slots = self._slots(run)
            made = make_plan(program, slots).run_plan
            # Tasks that are not known yet cannot be placed: with a choice of pools, none waits.
            if self._is_without_choice(run):
                made = plan_with_waits(program, made, slots)
            kept = self._home.put_plan(run, made)
            histories = load_histories(self._home, program)
            expected = expected_of(histories, kept)
            put_expected(self._home, run, expected)
            self._home.put_json(run, "inputs", _inputs(kept.stages))
            placed = self._placed(Unplaced(run, submitted_s, program, kept, histories, expected))
        except Exception as error:  # Whatever it is, the run must hear of it.
            self._planning.discard(run)
            yield PlanFailed(run=run, error=error_info(error))
            return
        self._planning.discard(run)
        failpoint("host.after_plan")
        # The placement first: the first runners that are asked for are of its pools.
        yield from placed
        yield plan_ready(run, kept)

    def _is_without_choice(self, run: RunId) -> bool:
        return self._home.get_asked(run) is None and len(self._room.pools) <= 1

    def _plan_stage(
        self,
        command: PlanStage,
        version: str,
        written: Written,
        waits: frozenset[int],
        get_usd: float,
    ) -> Iterable[Fact]:
        program, slots = self._program(command.run, version), self._slots(command.run)
        yield planned_stage(
            self._home, program, command, written, waits, slots, request_usd=get_usd
        )

    def _slots(self, run: RunId) -> int:
        """Return what a run's input is cut for: the machines that are there, or that may come.

        Raises: PoolsError, when machines are to be asked for where there are none to be had.
        """
        document = self._home.get_asked(run)
        if document is None or not document.get("autoscale"):
            return self._room.slots
        # Who asks for nothing does without what describes pools.
        from rayorch.plan.asking import Asked  # noqa: PLC0415

        asked, why = Asked.model_validate(document), self._room.why_fixed()
        if why:
            problem = f"no machines can be asked for: {why}"
            raise PoolsError(problem, asked.file, "autoscale", "true")
        return max(self._room.slots, asked.slots_to_come)

    def _collect(self, run: RunId, stage: int) -> Iterable[Fact]:
        try:
            self._home.collect_exchange(run, stage)
        except ConnectorError as error:
            # The sweep at the end of the run deletes what is left.
            logger.warning("exchange files stay for now. run=%s, reason=%s", run, error)
        return ()

    def _placed(self, work: Unplaced) -> tuple[Fact, ...]:
        """Return the first placement. Raises: PoolsError, PlacementError."""
        asked, there = self._home.get_asked(work.run), self._room.pools
        machines = self._room.machines
        if self._is_without_choice(work.run):
            check_needs(work.program, machines)
            return (unplaced(work, self._room.slots, tuple(PoolPrice(pool) for pool in there)),)
        placer = self._placer_made()
        facts = placer.first(work, asked or {}, there, machines)
        if any(isinstance(fact, PlacementReady) and not fact.is_final for fact in facts):
            self._searches.submit(placer.tell_first, work.run)
        return facts

    def _placer_made(self) -> "Placer":
        # Placement takes numpy, a solver and a part of a second: only runs with a choice pay.
        from rayorch.host.placer import Placer  # noqa: PLC0415
        from rayorch.host.solving import SolverProcess  # noqa: PLC0415

        if self._placer is None:
            self._placer = Placer(self._home, self._clock, SolverProcess())
        return self._placer

    def _look(self, command: SolvePlacement, version: str, done: Sequence[int]) -> None:
        placer, run, there = self._placer_made(), command.run, self._room.pools

        def unplaced_work() -> Unplaced:
            program, kept = self._program(run, version), self._home.get_plan(run)
            histories = load_histories(self._home, program)
            submitted_s = command.observed.submitted_s
            expected = expected_of(histories, kept)
            return Unplaced(run, submitted_s, program, kept, histories, expected, tuple(done))

        machines = self._room.machines
        facts = tuple(placer.look(command, there, machines, unplaced_work, self._home.get_asked))
        self._placing.discard(run)
        self._offer(facts)

    def _compare(
        self, run: RunId, version: str, sink: int, outputs: Sequence[str]
    ) -> Iterable[Fact]:
        try:
            _merged(self._program(run, version).sinks[sink].url, outputs)
        except OutputsDisagreeError as error:
            yield RunFailed(run=run, error=error_info(error))

    def _publish(
        self, command: PublishSink, version: str, payloads: Sequence[str]
    ) -> Iterable[Fact]:
        run, sink = command.run, command.sink
        try:
            spec = self._program(run, version).sinks[sink]
            outputs = [_SINK_OUTPUT.decode(payload) for payload in payloads]
            schema = _merged(spec.url, payloads)
            failpoint("host.before_publish")
            published = open_sink(spec).publish(
                outputs,
                schema,
                # Of this run alone: another one may publish to the same place in between, and
                # what it wrote must not pass for ours.
                app_id=f"rayorch/{self._home.identity()}/{run}/{spec.name}",
                generation=command.generation,
                run=run,
            )
        except Exception as error:  # Whatever it is, the run must hear of it.
            yield self._publish_failed(run, sink, error)
            return
        self._tries.pop((run, sink), None)
        failpoint("host.after_publish")
        yield SinkPublished(
            run=run,
            sink=sink,
            version=published.version,
            rows=published.rows,
            files=published.files,
            size_bytes=published.size_bytes,
            how_to_read=published.how_to_read,
        )

    def _publish_failed(self, run: RunId, sink: int, error: Exception) -> PublishFailed:
        tries = self._tries[run, sink] = self._tries.get((run, sink), 0) + 1
        retry_at_s = 0.0
        # Publishing is idempotent by its generation, so a doubtful outcome is simply tried again.
        if getattr(error, "remedy", "") in {"retry", "check"} and tries < PUBLISH_TRIES_MAX:
            pause_s = min(PUBLISH_PAUSE_S * 2 ** (tries - 1), PUBLISH_PAUSE_S_MAX)
            retry_at_s = self._clock.now_s() + pause_s
        else:
            # The run fails; who resumes it wants all of the tries again.
            del self._tries[run, sink]
        return PublishFailed(run=run, sink=sink, error=error_info(error), retry_at_s=retry_at_s)

    def _sweep(self, run: RunId, version: str, results: Sequence[Any]) -> Iterable[Fact]:
        # Nobody holds a lease of this run, and no runner that was given up may still write: the
        # machine asks for a sweep only then. So hidden files of its writers are of dead ones.
        now_s = self._clock.now_s()
        swept = 0
        try:
            program = self._program(run, version)
            for index, spec in enumerate(program.sinks):
                payloads = _outputs_of(results, index)
                outputs = [_SINK_OUTPUT.decode(payload) for payload in payloads]
                keep = {file.key for output in outputs for file in output.files}
                swept += open_sink(spec).sweep(run, keep, unfinished_before_s=now_s)
            swept += self._home.collect_exchange(run)
        except (ConnectorError, RayorchError):
            # What is left is invisible to readers; the next leader sweeps again.
            return
        failpoint("host.after_sweep")
        yield RunSwept(run=run, files=swept)


def _written(run: Run, stages: Sequence[int]) -> list[tuple[WrittenBy, ExchangeResult]]:
    """Return the exchange files that some stages have committed, and who wrote them."""
    return [
        (WrittenBy(task.id, task.attempt, task.epoch), part)
        for task in run.tasks
        if task.stage in stages
        for part in run.parts.get(task.id, ())
    ]


def _outputs_of(results: Iterable[Iterable[Any]], sink: int) -> list[str]:
    return [result.payload for some in results for result in some if result.sink == sink]


def _merged(url: str, payloads: Sequence[str]) -> bytes:
    """Return the schema of a sink. Raises: OutputsDisagreeError."""
    schemas = _schemas(payloads)
    if not schemas:
        return dump_schema(pa.schema([]))
    try:
        return merge_output_schemas(schemas)
    except OutputSchemaConflictError as error:
        raise OutputsDisagreeError(url, str(error)) from error


def _schemas(payloads: Sequence[str]) -> list[bytes]:
    """Return the distinct schemas of some outputs, in order of their first appearance.

    Outputs without rows count only where no other has any: an empty frame has odd types.
    """
    found: dict[str, bytes] = {}
    empty: dict[str, bytes] = {}
    for payload in payloads:
        output = _SINK_OUTPUT.decode(payload)
        if output.schema_ipc is not None:
            (found if output.rows else empty).setdefault(output.schema_fp, output.schema_ipc)
    return list(found.values()) or list(empty.values())[:1]


def _inputs(stages: Iterable[Any]) -> dict[str, Any]:
    return {
        stage.discovery.roots[0] if stage.discovery.roots else stage.discovery.format: [
            {"url": url, "size_bytes": size_bytes, "version": version}
            for url, size_bytes, version in stage.discovery.files
        ]
        for stage in stages
    }
