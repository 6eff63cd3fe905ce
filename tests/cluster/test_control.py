"""Starting and finding the control actor: what a client is told when it cannot lead."""

import os
import signal
import sys
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import ray

from rayorch.errors import ClusterError, HomeBusyError
from rayorch.host import ray_control
from rayorch.host.actors import control_actor
from rayorch.host.control import control_name, runner_prefix
from rayorch.host.leader import Leader, sign, unsign
from tests.cluster.drill import Drill


def test_a_busy_home_is_refused_in_our_words_and_is_free_later(drill: Drill) -> None:
    """The refused actor must not stay: whoever comes next would be told of what is over."""
    somebody = Leader("in-process", "another", 1, drill.clock.now_s() + 60.0, "nightly-1")
    sign(drill.at.home, somebody)

    with pytest.raises(HomeBusyError, match="pid 1 on another, run=nightly-1"):
        drill.control()
    unsign(drill.at.home)
    control = drill.control()

    drill.check_output(drill.follow(control, drill.submit(control)))


def test_a_control_actor_that_does_not_answer_is_left_alone(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be at a long journal, or be started again and again while its store is out."""
    control = drill.control()
    info = control.info()
    monkeypatch.setattr(ray_control, "ANSWER_S_MAX", 1.0)
    monkeypatch.setattr(ray_control, "BURIED_S_MAX", 0.0)
    drill.note_stopped(info.pid)
    os.kill(info.pid, signal.SIGSTOP)

    with pytest.raises(ClusterError, match="the control actor does not answer"):
        drill.control()

    monkeypatch.undo()
    drill.resume_stopped()
    assert control.info().pid == info.pid
    drill.check_output(drill.follow(control, drill.submit(control)))


class Bare:
    """An actor that does nothing: what it listens on is Ray's."""

    def pid(self) -> int:
        return os.getpid()


def listens(pid: int) -> tuple[int, set[int]]:
    """Return how many sockets of a process others may reach, and its ports on loopback."""
    found = [
        address.laddr
        for address in psutil.Process(pid).net_connections(kind="tcp")
        if address.status == psutil.CONN_LISTEN
    ]
    near = {place.port for place in found if ip_address(place.ip).is_loopback}
    return len(found) - len(near), near


def test_nothing_of_ours_listens_but_the_metrics_on_loopback(drill: Drill) -> None:
    control = drill.control()
    drill.check_output(drill.follow(control, drill.submit(control)))
    get: Any = ray.get
    by_value: Any = ray.cloudpickle.register_pickle_by_value
    by_value(sys.modules[__name__])
    bare = control_actor(Bare, f"{control_name(drill.home_url)}-bare").remote()
    names = ray.util.list_named_actors()
    prefix = runner_prefix(drill.home_url)
    runner: Any = ray.get_actor(next(name for name in names if name.startswith(prefix)))

    usual, _ = listens(get(bare.pid.remote()))
    info = control.info()
    outside, near = listens(info.pid)
    outside_runner, near_runner = listens(get(runner.hello.remote()).pid)

    assert (outside, outside_runner) == (usual, usual)
    assert near == {urlsplit(info.metrics_url).port}
    assert near_runner == set()
    ray.kill(bare, no_restart=True)
