"""The in-process executor: runner engines on threads of this process. No Ray, no start-up.

For unit tests, small local runs and places where Ray cannot be. The same core, journal and commit;
what it cannot do is outlive user code that takes the process down, or end a thread: a runner that
is killed here is abandoned, and whatever it still says is not listened to.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from rayorch.clock import Clock
from rayorch.core.commands import (
    EnsureRunners,
    KillRunner,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import Fact, RunnerJoined, RunnerLost
from rayorch.home import Home
from rayorch.host.executor import HostPort, RunnerCommand
from rayorch.ids import RunnerId
from rayorch.runner.capture import LogLine, TeeLoan
from rayorch.runner.engine import RunnerEngine, RunnerSettings
from rayorch.runner.reporter import ReportSettings

POOL: Final = "in-process"
CLOSE_S_MAX: Final = 5.0
# No process border is crossed: there is little to gain by waiting for more to say.
REPORT: Final = ReportSettings(linger_s=0.001)


class InProcessExecutor:
    """Runners as threads."""

    def __init__(
        self,
        home: Home,
        clock: Clock,
        slots: int,
        log: Callable[[list[LogLine]], None] | None = None,
    ) -> None:
        assert slots > 0
        self._home = home
        self._clock = clock
        self._slots = slots
        self._log = log
        self._host: HostPort | None = None
        self._engines: dict[RunnerId, RunnerEngine] = {}
        self._sizes: dict[RunnerId, tuple[float, int]] = {}
        self._tee: TeeLoan | None = None
        self._made = 0
        self._lock = threading.Lock()

    @property
    def slots(self) -> int:
        """How many runners of one core fit."""
        return self._slots

    def attach(self, host: HostPort) -> None:
        """Meet the host. Nothing lives here before it."""
        self._host = host
        if self._log is not None:
            self._tee = TeeLoan()

    def start(self, command: RunnerCommand) -> None:
        """Carry out a command."""
        match command:
            case EnsureRunners():
                self._ensure(command)
            case SendLeases(runner=runner, leases=leases):
                engine = self._engines.get(runner)
                if engine is not None:
                    assert self._host is not None
                    split_of = self._host.split_of
                    engine.enqueue([(lease, split_of(lease.run, lease.task)) for lease in leases])
            case RevokeLeases(runner=runner, leases=leases):
                engine = self._engines.get(runner)
                if engine is not None:
                    engine.revoke(leases)
            case KillRunner(runner=runner, reason=reason):
                self._abandon(runner, reason)

    def check(self, now_s: float) -> None:
        """Nothing here dies alone."""

    def release(self) -> None:
        """End the runners: threads that wait cost little, but they hold what they have loaded."""
        for runner in list(self._engines):
            self._abandon(runner, "no run needs it")

    def close(self) -> None:
        """End the runners; one that is inside user code is left behind."""
        with self._lock:
            engines, self._engines = list(self._engines.values()), {}
        for engine in engines:
            engine.close(wait_s=CLOSE_S_MAX)
        if self._tee is not None:
            self._tee.end()

    def _ensure(self, command: EnsureRunners) -> None:
        fit = max(1, int(self._slots // max(command.cores, 1.0)))
        wanted = min(fit, command.count_max)
        asked = (command.cores, command.memory_bytes)
        small = [runner for runner in self._engines if not _fits(self._sizes[runner], asked)]
        missing = wanted - (len(self._engines) - len(small))
        if missing > 0:
            # They hold the slots that larger runners need.
            for runner in small:
                self._abandon(runner, "a larger runner needs its place")
        for _ in range(missing):
            self._make(command)

    def _make(self, command: EnsureRunners) -> None:
        assert self._host is not None
        self._made += 1
        runner = RunnerId(f"local-{self._made}")
        settings = RunnerSettings(
            memory_bytes=command.memory_bytes, cores=command.cores, pool=POOL, report=REPORT
        )
        self._sizes[runner] = (command.cores, command.memory_bytes)
        self._engines[runner] = RunnerEngine(
            runner,
            self._home,
            lambda facts: self._offer(runner, facts),
            clock=self._clock,
            settings=settings,
            log=self._log,
        )
        self._host.offer([RunnerJoined(runner, POOL, command.cores, command.memory_bytes)])

    def _offer(self, runner: RunnerId, facts: Sequence[Fact]) -> None:
        if not facts or self._host is None:
            return
        if runner in self._engines:
            self._host.offer(facts).wait()

    def _abandon(self, runner: RunnerId, reason: str) -> None:
        engine = self._engines.pop(runner, None)
        if engine is None:
            return
        engine.halt()
        assert self._host is not None
        self._host.offer([RunnerLost(runner, "preempted", reason, silent=True)])
        # Its thread writes on until the user's function returns; only then may files be swept.
        ending = threading.Thread(target=self._see_off, args=(runner, engine), daemon=True)
        ending.start()

    def _see_off(self, runner: RunnerId, engine: RunnerEngine) -> None:
        engine.close(wait_s=threading.TIMEOUT_MAX)
        assert self._host is not None
        self._host.offer([RunnerLost(runner, "preempted", "its last attempt has ended")])


def _fits(size: tuple[float, int], asked: tuple[float, int]) -> bool:
    return size[0] >= asked[0] and size[1] >= asked[1]
