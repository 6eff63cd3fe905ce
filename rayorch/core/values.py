"""The values that facts and commands are made of."""

from typing import Final, Literal, get_args

import msgspec

from rayorch.ids import Epoch, RunId, TaskId

FailureKind = Literal[
    "user",  # the function raised: never retried blindly
    "transient",  # I/O, throttling: retried with back-off
    "lost",  # the machine went: retried at once, no budget used
    "preempted",  # the machine was taken back: as lost, and no suspicion of the task
    "oom",  # out of memory: retried with smaller batches
    "timeout",  # ran longer than the transform allows
    "upstream",  # what it reads was lost: made again, and no budget used
    "refused",  # policy, contract, input that cannot be right: never retried
    "poison",  # killed its runner again and again: quarantined
]
FAILURE_KINDS: Final[tuple[FailureKind, ...]] = get_args(FailureKind)


class ErrorInfo(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """An error as a person should read it, without the frames of this library."""

    message: str
    error_type: str = ""
    transform: str = ""
    where: str = ""  # the user's file:line
    source: str = ""  # the input file that was being read
    remedy: str = ""
    traceback: str = ""
    kind: FailureKind | None = None  # of what ended the run or its task; exit codes rest on it


class StepSeconds(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """Where the seconds of one attempt went."""

    read_s: float = 0.0
    compute_s: float = 0.0
    write_s: float = 0.0
    wait_s: float = 0.0  # for the reader to hand over the first batch
    cpu_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Wall seconds of the attempt on its runner."""
        return self.wait_s + self.compute_s + self.write_s


class SinkResult(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """What one attempt staged for one sink. The core reads the numbers and keeps the rest shut."""

    sink: int
    rows: int = 0
    size_bytes: int = 0
    schema_fp: str = ""
    payload: str = ""  # JSON of connectors' SinkOutput


class ExchangeResult(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """The exchange file that one attempt wrote for one side of an exchange."""

    exchange: int
    side: int
    rows: int = 0
    size_bytes: int = 0
    rows_in: int = 0  # before they were merged; 0: nothing merges them before the exchange
    paid: bool = True  # False: merging was given up, because hardly any rows were of one key
    heavy: tuple[int, int] = (0, 0)  # rows of heavy keys that were merged then, and what became
    rows_schema: bytes = b""  # of the rows whose partial states it holds; none: it holds rows
    payload: bytes = b""  # what the planner needs of it; shut to the core


class WrittenBy(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An attempt, by what its exchange files are named after."""

    task: TaskId
    attempt: int
    epoch: Epoch


class AttemptOutput(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """The small record with which an attempt ends."""

    rows_in: int = 0
    bytes_in: int = 0
    results: tuple[SinkResult, ...] = ()
    seconds: StepSeconds = StepSeconds()
    memory_bytes: int = 0  # high-water mark of the attempt
    moved_bytes: int = 0  # read from the store, as stored
    gets: int = 0  # files that were read
    puts: int = 0  # files that were written
    cached_bytes: int = 0  # read from the node's cache, and not moved
    cached_gets: int = 0
    parts: tuple[ExchangeResult, ...] = ()
    # Of a task that was cut: the split that it read, and those of the tasks that read the rest.
    cut: tuple[bytes, ...] = ()


class StageShape(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """All that the core knows of a stage."""

    name: str
    cores: float = 1.0
    memory_bytes: int = 1 << 30
    timeout_s: float = 0.0  # 0: no limit
    sinks: tuple[int, ...] = ()
    # Named outside resources, and how much of each an attempt holds: a database's connections.
    uses: tuple[tuple[str, int], ...] = ()
    after: tuple[int, ...] = ()  # stages whose exchange files it reads; none: it reads a source
    gpus: float = 0.0


class RetryLimits(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """How often an attempt may fail before its task does."""

    attempts_max: int = 4
    backoff_s: float = 1.0
    backoff_s_max: float = 60.0
    strikes_max: int = 3  # runners that one task may kill before it is poison


class Held(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """A lease that a runner says it holds, first to run first."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    started: bool = False
