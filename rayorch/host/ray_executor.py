"""The Ray executor: runners are detached named actors that outlive the control actor.

Ray starts processes and tells of their death; what a death means is decided by the core. Three
ways to learn that a runner is gone: its `guard` call ends (it died, or Ray refuses to place it),
its node is gone from Ray's table, or its heartbeat stops (it hangs, or its node is cut off).
"""

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import ray
from msgspec.structs import replace

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
from rayorch.core.node_facts import NodeLost, RunnerRefused
from rayorch.core.places import Placed
from rayorch.core.sizes import Size
from rayorch.core.values import FailureKind
from rayorch.host.actors import GUARD, runner_actor
from rayorch.host.capacity import Capacity
from rayorch.host.capacity_actor import RayDesk, why_fixed
from rayorch.host.code import unlike
from rayorch.host.executor import HostPort, RunnerCommand
from rayorch.host.nodes import NodeWatch
from rayorch.host.ray_nodes import ray_machines
from rayorch.host.ray_runners import (
    KnownRunner,
    all_but,
    cores_by_pool,
    kind_of_end,
    room_for,
    selector,
    sizes_by_pool,
    why_stillborn,
)
from rayorch.host.runner_actor import (
    ENCODER,
    Hello,
    RunnerActor,
    RunnerSpec,
    encode_leases,
)
from rayorch.ids import NodeId, RunnerId

SILENT_S_MAX: Final = 10.0
"""A runner that has said nothing for so long loses its leases. It says something every second."""
CONTROL_PREFIX: Final = "rayorch-control-"
RECOVER_S_MAX: Final = 5.0
STILLBORN_MAX: Final = 4
"""After so many runners, one after the other, whose process could not begin, none can."""


class RayExecutor:
    """Runners on the Ray cluster that this process belongs to."""

    def __init__(
        self,
        home_url: str,
        control: str,
        prefix: str,
        clock: Clock,
        new_nonce: Callable[[], str],
        code: Mapping[str, str],
    ) -> None:
        self._capacity = Capacity(RayDesk(control))
        self._home_url = home_url
        self._control = control
        self._prefix = prefix
        self._clock = clock
        self._new_nonce = new_nonce
        self._host: HostPort | None = None
        self._runners: dict[RunnerId, KnownRunner] = {}
        self._code = code
        self._barred: frozenset[NodeId] = frozenset()  # whose runners run other code
        self._unlike: deque[tuple[RunnerId, Hello, str]] = deque()  # runners that do, to be ended
        self._refusal: RunnerRefused | None = None  # the last one
        self._stillborn = 0
        self._watch = NodeWatch(ray_machines, self._nodes_changed)

    @property
    def slots(self) -> int:
        """The cores of the nodes that live and stay."""
        return max(1, sum(self.pools.values()))

    @property
    def pools(self) -> Mapping[str, int]:
        """The cores of the nodes that live and stay, by their label `pool`."""
        return cores_by_pool(self._watch.refresh(), self._barred)

    @property
    def machines(self) -> Mapping[str, Collection[Size]]:
        """The sizes of the nodes that live and stay, by their label `pool`."""
        return sizes_by_pool(self._watch.refresh(), self._barred)

    def why_fixed(self) -> str:
        """Return why no machines can be asked of the cluster; "": they can."""
        return why_fixed()

    def attach(self, host: HostPort) -> None:
        """Meet the host, and find the runners that an earlier control actor left."""
        self._host = host
        # First: of a runner on a node that is being taken away, both must be known.
        self._watch.start()
        names = ray.util.list_named_actors()
        self._find([RunnerId(name) for name in names if name.startswith(self._prefix)])

    def start(self, command: RunnerCommand) -> None:
        """Carry out a command; nothing here waits for a runner."""
        match command:
            case EnsureRunners():
                self._ensure(command)
            case AskNodes(run=run, nodes=nodes):
                self._capacity.ask(run, nodes, self._clock.monotonic_s())
            case FindRunners(runners=runners):
                self._bury(runners)
            case _:
                self._order(command)

    def _order(self, command: SendLeases | RevokeLeases | CutTask | KillRunner) -> None:
        """Tell a runner, if it still is one of ours."""
        match command:
            case SendLeases(runner=runner, leases=leases):
                known = self._runners.get(runner)
                if known is not None:
                    assert self._host is not None
                    split_of = self._host.split_of
                    pairs = [(lease, split_of(lease.run, lease.task)) for lease in leases]
                    known.enqueue.remote(encode_leases(pairs))
            case RevokeLeases(runner=runner, leases=leases, halt=halt):
                known = self._runners.get(runner)
                if known is not None:
                    known.revoke.remote(ENCODER.encode(leases), halt)
            case CutTask(runner=runner, lease=lease):
                known = self._runners.get(runner)
                if known is not None:
                    known.cut.remote(ENCODER.encode((lease,)))
            case KillRunner(runner=runner, reason=reason):
                known = self._runners.get(runner)
                if known is not None:
                    # It lives until Ray has ended it: its guard tells.
                    self._lost(runner, "preempted", reason, silent=True)
                    ray.kill(known.handle, no_restart=True)

    def _bury(self, runners: tuple[RunnerId, ...]) -> None:
        """Tell of runners that have ended: each is an actor with a name, which ends with it."""
        living = set(ray.util.list_named_actors())
        for runner in runners:
            if runner not in living:
                self._lost(runner, "lost", f"runner {runner} has ended")

    def heard(self, runner: RunnerId) -> bool:
        """Note that a runner spoke; return whether it still is one of ours."""
        known = self._runners.get(runner)
        if known is None:
            return False
        known.heard_s = self._clock.monotonic_s()
        return True

    def check(self, now_s: float) -> None:
        """Give up runners that have been silent for too long, and hold on to what is asked for."""
        self._capacity.check(now_s)
        while self._unlike:
            self._refuse(*self._unlike.popleft())
        for runner, known in list(self._runners.items()):
            # One that has not joined waits for a place on the cluster, or its guard tells.
            if known.joined and now_s - known.heard_s > SILENT_S_MAX:
                reason = f"runner {runner} was silent for {SILENT_S_MAX:g} s"
                self._lost(runner, "lost", reason, silent=True)

    def release(self) -> None:
        """End all runners: their cores are wanted elsewhere, or have been idle for long."""
        self._capacity.withdraw()
        for runner, known in list(self._runners.items()):
            self._lost(runner, "preempted", "no run needs it")
            ray.kill(known.handle, no_restart=True)

    def close(self) -> None:
        """Let go of the handles. The runners live on, for whoever leads next."""
        self._watch.close()
        self._runners.clear()
        # Their guards may still end, and nobody is to be told.
        self._host = None

    # --- runners ---------------------------------------------------------------------------------

    def _ensure(self, command: EnsureRunners) -> None:
        machines = self._watch.machines
        pools = cores_by_pool(machines, self._barred)
        if not pools and self._refusal is not None and not self._barred.isdisjoint(machines):
            self._tell([replace(self._refusal, cores_left=0)])
            return
        own = [
            Placed(known.size, known.node)
            for known in self._runners.values()
            if command.pool in {"", known.pool} and known.stays(machines)
        ]
        room = room_for(command, machines, self._barred, own)
        # Machines were asked for the sum of what all runs want: none is to wait for another's.
        cores = self._capacity.cores_of_others(command.run, command.pool)
        missing = room.missing(command, own, int(cores // max(command.cores, 1.0)))
        if missing.wanted > 0:
            self._ask_others()
        labels = selector(command.pool, pools) | all_but(room.kept_off)
        for _ in range(missing.start):
            self._make(command, labels)

    def _ask_others(self) -> None:
        """Let the control actors of other homes give back the cores of runners that only wait."""
        for name in ray.util.list_named_actors():
            if name.startswith(CONTROL_PREFIX) and name != self._control:
                try:
                    ray.get_actor(name).release_idle.remote()
                except ValueError:
                    continue  # It has just ended.

    def _make(self, command: EnsureRunners, labels: Mapping[str, str]) -> None:
        runner = RunnerId(f"{self._prefix}{self._new_nonce()[:8]}")
        spec = RunnerSpec(
            runner=runner,
            home_url=self._home_url,
            control=self._control,
            pool=command.pool,
            cores=command.cores,
            memory_bytes=command.memory_bytes,
            gpus=command.gpus,
        )
        handle = runner_actor(RunnerActor, runner, spec.size, labels).remote(spec)
        self._adopt(handle, spec)

    def _find(self, runners: Sequence[RunnerId]) -> None:
        """Adopt those that answer; all are asked at once, so that hanging ones cost one wait."""
        get: Any = ray.get  # Its annotations say that an untyped reference has no value.
        asked: dict[Any, Any] = {}
        for runner in runners:
            # It may have ended since it was listed.
            with contextlib.suppress(ValueError):
                handle: Any = ray.get_actor(runner)
                asked[handle.hello.remote()] = handle
        if not asked:
            return
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=RECOVER_S_MAX)
        for answer in answered:
            # One that is dead or hangs: its leases are ready again as far as we know.
            with contextlib.suppress(ray.exceptions.RayError):
                hello: Hello = get(answer)
                self._adopt(asked[answer], hello.spec, hello)

    def _adopt(
        self,
        handle: Any,  # noqa: ANN401 - Ray's handles have no type.
        spec: RunnerSpec,
        hello: Hello | None = None,
    ) -> None:
        runner = spec.runner
        self._runners[runner] = KnownRunner(
            handle, spec, self._clock.monotonic_s(), fresh=hello is None
        )
        if hello is not None:
            self._joined(runner, hello)
        else:
            greeting = handle.hello.remote().future()
            greeting.add_done_callback(lambda done: self._greeted(runner, done))
        guard = handle.guard.options(concurrency_group=GUARD).remote().future()
        guard.add_done_callback(lambda done: self._ended(runner, done))

    def _greeted(self, runner: RunnerId, done: Any) -> None:  # noqa: ANN401
        """Ray's thread: a runner is up, or never will be (its guard tells)."""
        if done.exception() is None:
            self._joined(runner, done.result())

    def _joined(self, runner: RunnerId, hello: Hello) -> None:
        known = self._runners.get(runner)
        if known is None or self._host is None:
            return
        if reason := unlike(hello.code, self._code):
            # A thread of Ray's waits for ever for the end of an actor: `check` is not on one.
            self._unlike.append((runner, hello, reason))
            self._host.offer([])
            return
        known.joined = True
        self._stillborn = 0
        known.heard_s = self._clock.monotonic_s()
        spec = hello.spec
        known.pool, known.node = spec.pool, NodeId(hello.node)
        said = (runner, spec.pool, spec.cores, spec.memory_bytes, hello.held, known.node)
        self._host.offer([RunnerJoined(*said, spec.gpus, hello.cache)])

    def _refuse(self, runner: RunnerId, hello: Hello, reason: str) -> None:
        """End a runner that runs other code than ours, and start none of ours where it was."""
        known = self._runners.pop(runner, None)
        if known is None:
            return  # It went with its machine.
        ray.kill(known.handle, no_restart=True)
        node = NodeId(hello.node)
        if known.fresh:
            # Not one that an earlier control actor left: this is what a new process runs there.
            self._barred |= {node}
        self._refused(runner, node, hello.spec.pool, f"it has {reason}")

    def _refused(
        self, runner: RunnerId, node: NodeId, pool: str, reason: str, *, any_left: bool = True
    ) -> None:
        cores = sum(cores_by_pool(self._watch.machines, self._barred).values()) if any_left else 0
        self._refusal = RunnerRefused(runner, node, pool, reason, cores)
        self._tell([self._refusal])

    def _nodes_changed(self, facts: Sequence[Fact]) -> None:
        """Tell of machines; of those that are gone, after the runners that went with them."""
        if self._host is None:
            return
        news: list[Fact] = []
        for fact in facts:
            if isinstance(fact, NodeLost):
                news += self._gone_with(fact)
            news.append(fact)
        self._host.offer(news)

    def _gone_with(self, lost: NodeLost) -> list[Fact]:
        reason = f"its node {lost.node[:8]} is gone: {lost.reason}"
        gone = [runner for runner, known in self._runners.items() if known.node == lost.node]
        for runner in gone:
            del self._runners[runner]
        # Cut off and taken for dead, it may still write. Its guard tells of its end.
        return [RunnerLost(runner, "lost", reason, silent=True) for runner in gone]

    def _ended(self, runner: RunnerId, done: Any) -> None:  # noqa: ANN401
        """Ray's thread: a runner's process is over."""
        error = done.exception()
        known = self._runners.get(runner)
        reason = "the runner ended" if error is None else str(error).splitlines()[0]
        self._lost(runner, kind_of_end(error), f"runner {runner} died: {reason}")
        if known is not None and (cause := why_stillborn(error)):
            # Where it was is not said: the next one may be elsewhere.
            self._stillborn += 1
            can_be = self._stillborn < STILLBORN_MAX
            reason = f"it could not begin: {cause}"
            self._refused(runner, NodeId(""), known.pool, reason, any_left=can_be)

    def _lost(
        self, runner: RunnerId, kind: FailureKind, reason: str, *, silent: bool = False
    ) -> None:
        self._runners.pop(runner, None)
        # Also for one that is not ours any more: the core may wait for its end.
        self._tell([RunnerLost(runner, kind, reason, silent)])

    def _tell(self, facts: Sequence[Fact]) -> None:
        if self._host is not None:
            self._host.offer(facts)
