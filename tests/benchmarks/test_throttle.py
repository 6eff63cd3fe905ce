import subprocess
import sys

import psutil

from benchmarks.throttle import Throttle

BURN = """
import sys, time
sys.stdin.readline()
began_s, until_s = time.monotonic(), time.process_time() + 0.2
while time.process_time() < until_s:
    pass
print(time.monotonic() - began_s, flush=True)
sys.stdin.readline()
"""


def test_a_process_gets_its_share_and_goes_on_afterwards() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", BURN], text=True, **pipes) as process:  # type: ignore[call-overload]
        with Throttle({process.pid: 0.2}):
            process.stdin.write("go\n")
            process.stdin.flush()
            took_s = float(process.stdout.readline())

        # However busy the machine is, it is never faster: 0.2 s of work take a second.
        assert took_s > 0.8
        assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
        process.stdin.close()


def test_one_that_ends_meanwhile_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process, Throttle({process.pid: 0.5}):
        process.wait()
