import os
import subprocess
import sys

from benchmarks.processes import (
    CpuAccount,
    CpuSampler,
    Key,
    Usage,
    all_processes,
    family,
    memory_bytes,
    parse_stat,
)

BURN = """
import sys, time
while time.process_time() < 0.3:
    pass
print("burnt", flush=True)
sys.stdin.read()
"""
ROOT, CHILD, GRANDCHILD, STRANGER = Key(10, 1), Key(11, 2), Key(12, 3), Key(13, 4)


def state(**cpu_s: float) -> dict[Key, Usage]:
    """The processes that are named, with what they have used."""
    known = {
        "root": (ROOT, 1),
        "child": (CHILD, 10),
        "grandchild": (GRANDCHILD, 11),
        "stranger": (STRANGER, 1),
    }
    return {known[name][0]: Usage(known[name][1], used) for name, used in cpu_s.items()}


def test_a_name_with_brackets_does_not_shift_the_fields() -> None:
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    fields = ["S", "10", *["0"] * 9, "7", "5", *["0"] * 6, "4711", "0"]

    key, usage = parse_stat(f"11 (ray::f(x) y) {' '.join(fields)}")

    assert key == Key(11, 4711)
    assert usage == Usage(10, 12 * tick_s)


def test_a_family_is_a_root_and_all_that_descend_from_it() -> None:
    processes = state(root=0, child=0, grandchild=0, stranger=0)

    assert family(processes, [10]) == {ROOT, CHILD, GRANDCHILD}
    assert family(processes, [99]) == set()


def test_only_what_was_used_since_the_first_look_counts() -> None:
    account = CpuAccount([10])

    account.look(state(root=5.0, child=2.0, stranger=1.0))
    account.look(state(root=6.0, child=4.0, stranger=9.0))

    assert account.cpu_s == 3.0


def test_a_process_that_begins_later_counts_from_its_start() -> None:
    account = CpuAccount([10])

    account.look(state(root=5.0))
    account.look(state(root=5.0, child=0.25))

    assert account.cpu_s == 0.25


def test_a_process_that_ended_keeps_what_it_used() -> None:
    account = CpuAccount([10])

    account.look(state(root=5.0, child=2.0))
    account.look(state(root=5.0, child=3.5))
    account.look(state(root=5.0))

    assert account.cpu_s == 1.5


def test_a_process_whose_parent_ended_still_belongs_to_the_family() -> None:
    account = CpuAccount([10])

    account.look(state(root=0.0, child=0.0, grandchild=0.0))
    account.look({ROOT: Usage(1, 0.0), GRANDCHILD: Usage(1, 2.0)})

    assert account.cpu_s == 2.0


def test_a_pid_that_was_given_again_is_another_process() -> None:
    account = CpuAccount([10])

    account.look({ROOT: Usage(1, 0.0), Key(11, 2): Usage(10, 8.0)})
    account.look({ROOT: Usage(1, 0.0), Key(11, 900): Usage(10, 0.5)})

    assert account.cpu_s == 0.5


def test_the_sampler_sees_what_a_child_has_burnt() -> None:
    """The child tells the CPU seconds it saw itself; it ends when nobody needs it any more."""
    command = [sys.executable, "-c", BURN]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
        CpuSampler([child.pid]) as sampler,
    ):
        assert child.stdout is not None
        child.stdout.readline()
        sampler_family = family(all_processes(), [child.pid])
        weight = memory_bytes([child.pid])

    assert [key.pid for key in sampler_family] == [child.pid]
    assert weight > 1 << 20
    assert 0.1 < sampler.cpu_s < 2.0


FOREST = """
import subprocess, sys, psutil
from benchmarks.processes import end_descendants

LEAF = "import sys; from signal import *; signal(SIGTERM, SIG_IGN); print(); sys.stdin.read()"
BRANCH = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LEAF!r}])"
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
made = subprocess.Popen([sys.executable, "-c", BRANCH], **pipes)
made.stdout.readline()
family = psutil.Process().children(recursive=True)
end_descendants()
gone, alive = psutil.wait_procs(family, 20)
print(len(gone), len(alive))
"""


def test_all_that_descends_from_a_process_is_ended_whatever_it_ignores() -> None:
    command = [sys.executable, "-c", FOREST]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("2 0\n", "")
