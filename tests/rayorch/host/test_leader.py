"""The hint that keeps two processes from fencing each other by mistake."""

import subprocess
import sys

import msgspec
import pytest

from connectors.stores.memory import MemoryStore
from rayorch.clock import ManualClock
from rayorch.core.run import RunState
from rayorch.errors import HomeBusyError
from rayorch.home import Home
from rayorch.host.leader import (
    FRESH_S,
    KEY,
    Leader,
    check_free,
    check_not_taken,
    read_leader,
    sign,
    this_process,
    unsign,
)
from rayorch.host.requests import leave_request
from tests.rayorch.host.make import RUN, Rig, leading

NOW_S = 1_800_000_000.0


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Home:
    return Home(MemoryStore(f"leader-{request.node.name}"))


def other(machine: str = "another", pid: int = 1, at_s: float = NOW_S) -> Leader:
    return Leader(name="rayorch-control-1", machine=machine, pid=pid, at_s=at_s, run="nightly-1")


def me() -> Leader:
    return this_process("in-process")


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_home_at_work_refuses_a_newcomer_and_says_what_to_do(home: Home) -> None:
    sign(home, other())

    with pytest.raises(HomeBusyError) as caught:
        check_free(home, me(), NOW_S + 1.0)

    assert str(caught.value) == (
        f"another control actor is at work on this home. home={home.url}, "
        "leader=rayorch-control-1, pid 1 on another, run=nightly-1\n"
        "  wait for it, use another --home, or take over with --takeover (it then stops)"
    )


@pytest.mark.parametrize("signed", [False, True])
def test_a_home_where_nobody_is_active_is_free(home: Home, signed: bool) -> None:
    if signed:
        sign(home, other())
        unsign(home)

    check_free(home, me(), NOW_S)


def test_an_old_hint_says_nothing(home: Home) -> None:
    sign(home, other())

    check_free(home, me(), NOW_S + FRESH_S + 1.0)


def test_a_dead_process_of_this_machine_is_no_obstacle(home: Home) -> None:
    """Killed a moment ago, it cannot take its hint away: `resume` must not wait for that."""
    sign(home, other(me().machine, dead_pid()))

    check_free(home, me(), NOW_S)


def test_a_living_process_of_this_machine_is_one(home: Home) -> None:
    sign(home, other(me().machine, 1))

    with pytest.raises(HomeBusyError, match="pid 1 on"):
        check_free(home, me(), NOW_S)


def test_what_somebody_else_wrote_there_says_nothing(home: Home) -> None:
    home.store.put(KEY, b"\xff not ours")

    check_free(home, me(), NOW_S)


@pytest.mark.parametrize("takeover", [False, True])
def test_a_second_host_is_refused_unless_it_takes_over(takeover: bool) -> None:
    """Refused, it has changed nothing: the first one goes on."""
    clock = ManualClock()
    rig = Rig(clock=clock)
    sign(rig.home, other(at_s=clock.now_s()))
    before = list(rig.store.list("journal/"))

    if not takeover:
        with pytest.raises(HomeBusyError):
            rig.host.start()
        assert list(rig.store.list("journal/")) == before
        return
    with leading(rig, takeover=True):
        assert rig.host.epoch == 1


def test_a_host_signs_while_a_run_is_active_and_no_longer() -> None:
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.host.offer([]).wait(10.0)
        assert rig.store.head(KEY) is None

        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        rig.host.offer([]).wait(10.0)
        rig.host.offer([]).wait(10.0)
        with pytest.raises(HomeBusyError) as caught:
            check_free(rig.home, other(), rig.clock.now_s())
        assert caught.value.run == RUN

        rig.host.offer([rig.executor.finished(rig.executor.leases[0])]).wait(10.0)
        rig.watch.wait_state(RunState.SUCCEEDED)
        rig.host.offer([]).wait(10.0)
        rig.host.offer([]).wait(10.0)
        assert rig.store.head(KEY) is None


def test_a_host_that_serves_signs_without_a_run_and_takes_runs_by_way_of_the_home() -> None:
    rig = Rig()
    with leading(rig):
        rig.host.serve()
        rig.host.offer([]).wait(10.0)
        rig.host.offer([]).wait(10.0)
        found = read_leader(rig.home)
        assert found is not None
        assert found.serves
        with pytest.raises(HomeBusyError, match="serves clients"):
            check_free(rig.home, other(), rig.clock.now_s())

        leave_request(rig.home, rig.submission(tasks=1), rig.clock.now_s(), "x")
        rig.watch.wait_state(RunState.SUCCEEDED)

    assert read_leader(rig.home) is None


class Renewed(ManualClock):
    """A clock that, while somebody waits, sees the other leader renew its hint."""

    def __init__(self, home: Home, leader: Leader) -> None:
        super().__init__(NOW_S)
        self._home = home
        self._leader = leader

    def sleep(self, duration_s: float) -> None:
        super().sleep(duration_s)
        sign(self._home, msgspec.structs.replace(self._leader, at_s=self.at_s))


HERE = Leader("rayorch-control-1", "m1", 1, NOW_S, cluster="10.0.0.1:6379")
THERE = msgspec.structs.replace(HERE, machine="m2", cluster="10.0.9.9:6379", run="nightly-1")


def test_a_restarted_leader_leaves_the_home_to_the_cluster_that_took_it_over(home: Home) -> None:
    """Both control actors have the name of the home: to lead again would fence who took over."""
    sign(home, THERE)

    with pytest.raises(HomeBusyError, match="pid 1 on m2, run=nightly-1"):
        check_not_taken(home, HERE, Renewed(home, THERE))


def test_a_restarted_leader_leads_on_once_the_last_words_of_another_are_old(home: Home) -> None:
    clock = ManualClock(NOW_S)
    sign(home, THERE)

    check_not_taken(home, HERE, clock)

    assert clock.at_s > NOW_S + FRESH_S


@pytest.mark.parametrize("hint", [None, HERE])
def test_a_restarted_leader_does_not_wait_for_itself(home: Home, hint: Leader | None) -> None:
    clock = ManualClock(NOW_S)
    if hint is not None:
        sign(home, hint)

    check_not_taken(home, HERE, clock)

    assert clock.at_s == NOW_S
