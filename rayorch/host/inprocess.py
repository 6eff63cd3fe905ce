"""The in-process executor: runner engines on threads of this process. No Ray, no start-up.

Threads may be told apart by pools, so that what goes where can be tried without machines.

For unit tests, small local runs and places where Ray cannot be. The same core, journal and commit;
what it cannot do is outlive user code that takes the process down, or end a thread: a runner that
is killed here is abandoned, and whatever it still says is not listened to.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from rayorch.clock import Clock
from rayorch.core.commands import (
    AskNodes,
    CutTask,
    EnsureRunners,
    FindRunners,
    KillRunner,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import Fact, RunnerJoined, RunnerLost
from rayorch.core.node_facts import NodeJoined
from rayorch.core.sizes import Size
from rayorch.home import Home
from rayorch.host.executor import HostPort, RunnerCommand
from rayorch.ids import NodeId, RunnerId
from rayorch.runner.capture import LogLine, TeeLoan
from rayorch.runner.engine import RunnerEngine, RunnerSettings
from rayorch.runner.reporter import ReportSettings
from rayorch.settings import Cache

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
        pools: Mapping[str, int],
        log: Callable[[list[LogLine]], None] | None = None,
        cache: Cache | None = None,
    ) -> None:
        assert pools
        assert all(slots > 0 for slots in pools.values())
        self._home = home
        self._clock = clock
        self._pools = dict(pools)
        self._log = log
        self._cache = cache
        self._host: HostPort | None = None
        self._engines: dict[RunnerId, RunnerEngine] = {}
        self._sizes: dict[RunnerId, tuple[str, Size]] = {}  # and where they are
        self._tee: TeeLoan | None = None
        self._made = 0
        self._lock = threading.Lock()

    @property
    def slots(self) -> int:
        """How many runners of one core fit."""
        return sum(self._pools.values())

    @property
    def pools(self) -> Mapping[str, int]:
        """How many runners of one core fit in each pool."""
        return self._pools

    @property
    def machines(self) -> Mapping[str, Collection[Size]]:
        """Threads share this process, and see its GPUs: they take whatever comes."""
        return dict.fromkeys(self._pools, ())

    def why_fixed(self) -> str:
        """Return why there are no other machines."""
        return "this run is executed by threads of this process"

    def attach(self, host: HostPort) -> None:
        """Meet the host. Nothing lives here before it; each pool stands for a node."""
        self._host = host
        nodes = [NodeJoined(NodeId(pool), pool, slots) for pool, slots in self._pools.items()]
        host.offer(nodes)
        if self._log is not None:
            self._tee = TeeLoan()

    def start(self, command: RunnerCommand) -> None:  # noqa: C901 - one case a command.
        """Carry out a command."""
        match command:
            case EnsureRunners():
                self._ensure(command)
            case AskNodes():
                pass  # There are no more than these threads, as `why_fixed` says.
            case SendLeases(runner=runner, leases=leases):
                engine = self._engines.get(runner)
                if engine is not None:
                    assert self._host is not None
                    split_of = self._host.split_of
                    engine.enqueue([(lease, split_of(lease.run, lease.task)) for lease in leases])
            case RevokeLeases(runner=runner, leases=leases, halt=halt):
                engine = self._engines.get(runner)
                if engine is not None:
                    engine.revoke(leases, halt=halt)
            case CutTask(runner=runner, lease=lease):
                engine = self._engines.get(runner)
                if engine is not None:
                    engine.cut(lease)
            case KillRunner(runner=runner, reason=reason):
                self._abandon(runner, reason)
            case FindRunners(runners=runners):
                assert self._host is not None
                # Threads end with their process, and the process before is another.
                gone = [runner for runner in runners if runner not in self._engines]
                self._host.offer([RunnerLost(each, "lost", "its process ended") for each in gone])

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
        left = command.count_max
        for pool in [command.pool] if command.pool else self._pools:
            fit = int(self._pools.get(pool, 0) // max(command.cores, 1.0))
            # Where nothing says which pool, work that is too large for any has to go somewhere.
            wanted = min(max(fit, not command.pool), left)
            self._ensure_in(pool, wanted, command)
            left -= wanted

    def _ensure_in(self, pool: str, wanted: int, command: EnsureRunners) -> None:
        sizes = [self._sizes[runner] for runner in self._engines]
        own = [size for where, size in sizes if where == pool]
        fits = sum(size.serves(command.size) for size in own)
        # Those that are too small have their slots until the core lets go of them; one is made all
        # the same where there is none.
        left = self._pools.get(pool, 0) - len(own)
        for _ in range(min(wanted - fits, max(left, not fits))):
            self._make(pool, command.size)

    def _make(self, pool: str, size: Size) -> None:
        assert self._host is not None
        self._made += 1
        runner = RunnerId(f"local-{self._made}")
        settings = RunnerSettings(
            memory_bytes=size.memory_bytes,
            cores=size.cores,
            pool=pool,
            cache=self._cache,
            report=REPORT,
        )
        self._sizes[runner] = (pool, size)
        engine = self._engines[runner] = RunnerEngine(
            runner,
            self._home,
            lambda facts: self._offer(runner, facts),
            clock=self._clock,
            settings=settings,
            log=self._log,
        )
        said = (runner, pool, size.cores, size.memory_bytes, (), NodeId(pool), size.gpus)
        self._host.offer([RunnerJoined(*said, engine.cache)])

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
