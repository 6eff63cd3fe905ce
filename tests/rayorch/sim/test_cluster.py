"""The simulated network: what a runner is told, and what it answers, come in an order."""

from collections.abc import Sequence

from rayorch.core.commands import EnsureRunners, Lease, SendLeases
from rayorch.core.facts import Fact, RunnerJoined
from rayorch.ids import Epoch, EventId, RunId, TaskId
from rayorch.sim.executor import SimExecutor

CAUSE, RUN = EventId(1), RunId("run-0")
TASKS = 3
STEPS_MAX = 1_000


class Heard:
    """A host that only listens."""

    def __init__(self) -> None:
        self.joined: list[RunnerJoined] = []

    def offer(self, facts: Sequence[Fact]) -> None:
        self.joined += [fact for fact in facts if isinstance(fact, RunnerJoined)]


def heard_again(seed: int) -> list[int] | None:
    """Cut a runner off, send it work; return what it holds when it is back, if it comes back."""
    executor, host = SimExecutor(seed), Heard()
    executor.attach(host)
    executor.start(EnsureRunners(CAUSE, RUN, cores=1.0, memory_bytes=1 << 30, count_max=1))
    while not host.joined:
        executor.check(0.0)
    (runner,) = executor.world.cluster.living()
    executor.world.cluster.cut_off(runner, 3.0 * executor.world.config.silence_s)
    for task in range(TASKS):
        lease = Lease(RUN, TaskId(task), 0, Epoch(1), stage=0, version="")
        executor.start(SendLeases(CAUSE, runner.id, (lease,)))
    for _ in range(STEPS_MAX):
        if not runner.alive:
            return None
        if len(host.joined) > 1:
            return sorted(held.task for held in host.joined[1].held)
        executor.check(0.0)
    raise AssertionError("it neither ended nor came back")


def test_a_runner_that_comes_back_says_all_that_was_sent_to_it_meanwhile() -> None:
    """Seed 715159: a lease came after the answer, and what it used was taken to be free."""
    found = [heard_again(seed) for seed in range(20)]

    back = [held for held in found if held is not None]
    assert 0 < len(back) < len(found)
    assert back == [list(range(TASKS))] * len(back)
