"""Groups of processes with a cpu quota, on a tree of files and on the real one."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rayorch.host.cpu_groups import CpuGroup, CpuGroupError, group_name

BUSY = "import time\nend = time.monotonic() + 1.0\nwhile time.monotonic() < end: pass"


def own_path(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.lstrip("/")
    return ""


def test_where_there_is_no_controller_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("")
    (tmp_path / own_path("")).mkdir(parents=True, exist_ok=True)

    with pytest.raises(CpuGroupError, match="the cpu controller is not delegated"):
        CpuGroup("a", 1.0, tmp_path)

    assert not (tmp_path / own_path("") / "a").exists()


def test_where_nothing_can_be_written_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("")
    parent = tmp_path / own_path("")
    parent.mkdir(parents=True, exist_ok=True)
    (parent / "a").write_text("in the way")

    with pytest.raises(CpuGroupError, match="file exists"):
        CpuGroup("a", 1.0, tmp_path)


def group_of(cores: float) -> CpuGroup:
    try:
        return CpuGroup(group_name("test"), cores)
    except CpuGroupError as error:
        pytest.skip(f"cgroups cannot be written here: {error}")


def test_a_process_that_the_kernel_does_not_take_is_told_of() -> None:
    """Such as one that runs in real time: its node is then as fast as the others."""
    group = group_of(1.0)
    try:
        with pytest.raises(CpuGroupError, match="process -1: invalid argument"):
            group.add([-1])
    finally:
        group.close()


def test_a_process_in_a_group_gets_its_part_of_a_core_and_no_more() -> None:
    """A quarter of a core for a second of busy waiting: a quarter of a second, or thereabouts."""
    group = group_of(0.25)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        code = f"input()\n{BUSY}"
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        group.add([process.pid])
        process.communicate(b"\n")
    finally:
        group.close()

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used_s < 0.6
    assert str(os.getpid()) in group_name("test")
