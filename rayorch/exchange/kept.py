"""What is kept of a stage that reads an exchange: how it is divided, and where its bytes are.

runs/<run>/stage-<n>.msgpack              the division: `ReducePlan`; `WaitedPlan`, if it waited
runs/<run>/stage-<n>-<revision>.msgpack   where the bytes are: `ReduceInput`
"""

from typing import Final

import msgspec

from rayorch.exchange.splits import HotKey, ReduceSplit, load_split
from rayorch.home import Home
from rayorch.ids import RunId

BUCKETS: Final = 1024
"""Of a hash exchange: many more than tasks, so that they can be packed evenly."""
_ENCODER: Final = msgspec.msgpack.Encoder()


class Direct(msgspec.Struct, frozen=True):
    """A side whose files the tasks read by themselves: it goes through no exchange."""

    side: int
    stage: int
    splits: tuple[tuple[bytes, ...], ...]  # by task


class WaitedPlan(msgspec.Struct, frozen=True):
    """What became of a stage that waited until the other side of its join was measured.

    direct: None when it fills the exchange as others do. notes: why.
    """

    direct: Direct | None
    schema: bytes  # of its rows, as an exchange would carry them
    rows: int  # as far as is known
    raw_bytes: int  # estimated
    notes: tuple[str, ...]


class ReducePlan(msgspec.Struct, frozen=True):
    """How a stage is divided, and what its tasks were measured to read."""

    splits: tuple[bytes, ...]
    schemas: tuple[bytes, ...]  # by side
    # By side, of each part: what must not change, or rows would be left out or read twice.
    rows: tuple[tuple[int, ...], ...]
    layouts: tuple[tuple[str, ...], ...]
    rows_schema: bytes = b""  # of the rows whose partial states the files hold
    notes: tuple[str, ...] = ()
    task_bytes: tuple[int, ...] = ()
    together: int = 1  # tasks that read their files at once
    direct: Direct | None = None
    # Of tasks that merge hot keys first: which keys, and whether each has all rows of its values.
    merged: tuple[HotKey, ...] = ()
    settles: bool = False

    def split(self, number: int) -> ReduceSplit:
        """Return what one task reads."""
        return load_split(self.splits[number])


class ReduceInput(msgspec.Struct, frozen=True):
    """Where the exchange files are now, and whose: (task, attempt, epoch) of each side's parts."""

    index: bytes
    writers: tuple[tuple[tuple[int, int, int], ...], ...]


def keep_plan(home: Home, run: RunId, stage: int, plan: ReducePlan) -> ReducePlan:
    """Keep how a stage is divided, unless it is; return what holds. Raises: StoreError."""
    kept = home.put_stage(run, stage, _ENCODER.encode(plan))
    return msgspec.msgpack.decode(kept, type=ReducePlan)


def keep_waited(home: Home, run: RunId, stage: int, plan: WaitedPlan) -> WaitedPlan:
    """Keep what became of a stage that waited, unless it is; return what holds."""
    kept = home.put_stage(run, stage, _ENCODER.encode(plan))
    return msgspec.msgpack.decode(kept, type=WaitedPlan)


def load_waited(home: Home, run: RunId, stage: int) -> WaitedPlan:
    """Return what became of a stage that waited. Raises: ObjectMissingError."""
    return msgspec.msgpack.decode(home.get_stage(run, stage), type=WaitedPlan)


def keep_input(home: Home, run: RunId, stage: int, revision: int, found: ReduceInput) -> None:
    """Keep where the bytes are that a stage reads, by its revision. Raises: StoreError."""
    home.put_stage_input(run, stage, revision, _ENCODER.encode(found))


def load_plan(home: Home, run: RunId, stage: int) -> ReducePlan:
    """Return how a stage is divided. Raises: ObjectMissingError."""
    return msgspec.msgpack.decode(home.get_stage(run, stage), type=ReducePlan)


def load_input(home: Home, run: RunId, stage: int, revision: int) -> ReduceInput:
    """Return where the bytes are that a stage reads. Raises: ObjectMissingError."""
    return msgspec.msgpack.decode(home.get_stage_input(run, stage, revision), type=ReduceInput)
