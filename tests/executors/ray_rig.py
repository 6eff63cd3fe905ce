"""The Ray executor's rig: real runners, and a switchboard for what they say."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import ray

from connectors.source import discover
from rayorch.clock import SystemClock
from rayorch.home import RunPlan, StagePlan, encode_split, open_home
from rayorch.host.actors import control_actor
from rayorch.host.code import code_here
from rayorch.host.executor import Executor
from rayorch.host.intake import runner_facts
from rayorch.host.ray_cluster import connect
from rayorch.host.ray_executor import RayExecutor
from rayorch.ids import RunnerId, new_nonce
from rayorch.program import dump_program
from tests.executors.rigs import SOURCE, Rig
from tests.rayorch.runner import make
from tests.warm_ray import end_actors

# Workers do not import the tests.
_by_value: Any = ray.cloudpickle.register_pickle_by_value
_by_value(sys.modules[__name__])


class Switchboard:
    """What runners take for the control actor: keeps what they say until the rig asks for it."""

    def __init__(self) -> None:
        self._said: list[tuple[RunnerId, bytes]] = []

    async def offer(self, runner: RunnerId, facts: bytes) -> bool:
        """Take a runner's facts."""
        self._said.append((runner, facts))
        return True

    async def log(self, _lines: bytes) -> None:
        """Take what functions printed."""

    async def taken(self) -> list[tuple[RunnerId, bytes]]:
        """Return what was said since the last call."""
        said, self._said = self._said, []
        return said


def waits_for(gate: Path) -> Callable[[pa.Table], pa.Table]:
    """Return a function that passes rows on once a file is there."""

    def waiting(table: pa.Table) -> pa.Table:
        import time  # noqa: PLC0415 - it travels by value.

        while not gate.exists():
            time.sleep(0.01)  # noqa: TID251 - users' code, which takes no Clock.
        return table

    return waiting


class RayRig(Rig):
    """Runners as Ray actors, on the session's Ray, whose node has no label."""

    pools: ClassVar[Mapping[str, int]] = {"local": 2}

    def __init__(self, folder: Path, address: str) -> None:
        connect(address)
        self._clock = SystemClock()
        self._gate = folder / "gate"
        self._name = f"contract-{os.getpid()}-{new_nonce()[:8]}"
        home = open_home((folder / "home").as_uri())
        stage = make.stage(SOURCE, make.chain(waits_for(self._gate)))
        discovery, splits = discover(stage.files, self.slots)
        program = make.program_of(stage, [(folder / "out").as_uri()])
        home.put_program(make.RUN, make.VERSION, dump_program(program))
        encoded = tuple(encode_split(split) for split in splits)
        home.put_plan(make.RUN, RunPlan((StagePlan(discovery, encoded),)))
        self.home_url = home.url
        self.code = dict(code_here())
        super().__init__(lambda task: encoded[task])
        self._board: Any = control_actor(Switchboard, self._name).remote()
        self.executor = self._made = self._executor()

    def _executor(self) -> RayExecutor:
        return RayExecutor(
            self.home_url, self._name, self._prefix, self._clock, new_nonce, self.code
        )

    @property
    def _prefix(self) -> str:
        return f"{self._name}-runner-"

    def restarted(self) -> Executor:
        self._made.close()
        self._made = self._executor()
        return self._made

    def open_gate(self) -> None:
        self._gate.touch()

    def let_happen(self) -> None:
        self._clock.sleep(0.02)
        said: list[tuple[RunnerId, bytes]] = ray.get(self._board.taken.remote())
        for runner, facts in said:
            self._made.heard(runner)
            self.host.offer(runner_facts(runner, self._prefix, facts))
        self.executor.check(self._clock.monotonic_s())

    def is_running(self, runner: RunnerId) -> bool:
        return runner in ray.util.list_named_actors()

    def close(self) -> None:
        self.executor.close()
        end_actors(self._name)
