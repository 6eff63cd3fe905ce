"""How soon a cluster gives a machine up that died: Ray's health checks, ours and others'.

The head's GCS asks every node whether it lives. It reads how often when it starts, from its
environment or its `_system_config`, and tells nobody: whoever wants to know looks at its process.

    doctor --starts--> head_program.py --a task, on the head--> /proc of the GCS
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from rayorch.errors import ClusterError

OURS: Final[Mapping[str, int]] = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
"""What a Ray that we start is told; the names are Ray's.

A node whose processes were killed refuses the call at once: it is given up after three periods. One
that is frozen, or only starved of CPU, answers late or never: it is given up after three time-outs,
half a minute. A shorter one would find it sooner, but all nodes of a Ray that we start are on one
machine: there, silence is load, and a node that is given up falsely costs all that it had at work.
"""
WANTED: Final[Mapping[str, int]] = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 2000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
"""What a cluster of real machines is to be told, and cluster.yaml tells it: machines may be cut off
or lose their power, and then nothing refuses a call; many are asked, over a network."""
RAYS_OWN: Final[Mapping[str, int]] = {
    "health_check_initial_delay_ms": 5000,
    "health_check_period_ms": 3000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 5,
}
LOOK_S_MAX: Final = 60.0
"""To connect, and to start a worker on the head."""


def ended_s(settings: Mapping[str, int]) -> float:
    """Return after how long a machine whose processes were killed is given up, at the most."""
    at = {**RAYS_OWN, **settings}
    return at["health_check_failure_threshold"] * at["health_check_period_ms"] / 1000


def silent_s(settings: Mapping[str, int]) -> float:
    """Return after how long a machine that does not answer is given up, at the most."""
    at = {**RAYS_OWN, **settings}
    each_ms = at["health_check_period_ms"] + at["health_check_timeout_ms"]
    return at["health_check_failure_threshold"] * each_ms / 1000


def head_settings(address: str) -> dict[str, int]:
    """Return what the head of a cluster was told of health checks; what is missing is Ray's own.

    In a process of its own: to connect to what does not answer, Ray takes minutes and may not be
    interrupted. Raises: ClusterError.
    """
    command = [sys.executable, "-m", "rayorch.host.head_program", address]
    try:
        done = subprocess.run(  # noqa: S603 - this program, by its own name.
            command, capture_output=True, text=True, timeout=LOOK_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(address, f"no answer within {LOOK_S_MAX:g} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise ClusterError(address, last)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {name: int(str(told[name])) for name in RAYS_OWN if name in told}
