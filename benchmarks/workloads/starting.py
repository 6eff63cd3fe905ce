"""How long until something can be asked for: the command, the library, a Ray of our own."""

import os
import subprocess
import sys
import tempfile
import time
from typing import Final

from benchmarks.driver import SideFailedError
from benchmarks.session import Session, Target

STARTUP_S: Final = 0.4
EMBEDDED_LIMIT: Final = 1.15
COMMANDS: Final = {
    "rayorch --help": [sys.executable, "-m", "rayorch", "--help"],
    "import rayorch": [sys.executable, "-c", "import rayorch"],
}
# Both make the same call of ray.init, with the same environment; ours then has a control actor
# that answers.
BARE: Final = "from rayorch.host import ray_cluster; ray_cluster.connect(None)"
OURS: Final = (
    "from rayorch import client; client.open_control(client.connection(executor='ray')).info()"
)
_READY: Final = "; print('ready', flush=True)"


def startup(session: Session) -> None:
    """The command and the library alone, and the embedded Ray beside a bare one."""
    for name, command in COMMANDS.items():
        seconds = []
        for _ in range(4 * session.options.runs):
            began_s = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began_s)
        session.figure("startup", name, seconds, Target(limit=STARTUP_S, unit="s"))
    _ready_s(BARE)  # Whoever is first reads files that no cache has yet.
    pairs = [(_ready_s(OURS), _ready_s(BARE)) for _ in range(session.options.runs)]
    session.figure("startup", "bare ray.init", [bare for _, bare in pairs], Target(unit="s"))
    session.figure("startup", "embedded, control actor and all", [ours for ours, _ in pairs])
    ratios = [ours / bare for ours, bare in pairs]
    session.figure("startup", "embedded / bare ray.init", ratios, Target(limit=EMBEDDED_LIMIT))


def _ready_s(program: str) -> float:
    """Return the seconds from the start of a process until it says that it is ready.

    Raises: SideFailedError.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "XDG_STATE_HOME": folder,  # No Ray that was kept warm is found.
            "RAYORCH_HOME": f"{folder}/home",
        }
        environment.pop("RAY_ADDRESS", None)
        began_s = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", program + _READY],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            ready_s = time.perf_counter() - began_s
    if said != "ready\n" or process.returncode:
        raise SideFailedError(f"a Ray of our own did not start; code {process.returncode}")
    return ready_s
