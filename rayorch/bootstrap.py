"""Commands of ours on a cluster that this process is no part of, by way of Ray Jobs.

A job here is short: it starts a control actor, or loads a pipeline file and hands the run over, and
ends. A control actor that leads takes all further runs without one: see decisions/0007.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rayorch.client import Connection
from rayorch.clock import Clock
from rayorch.errors import ClusterError, RefusedTokenError
from rayorch.host.ray_cluster import set_environment
from rayorch.ids import new_nonce
from rayorch.submit_errors import NoAnswerError, SubmitError

if TYPE_CHECKING:
    from rayorch.host.ray_jobs import JobAsk, JobState, RayJobs

START_S_MAX: Final = 300.0
"""How long a job may wait for a node that fits and for its packages; Ray would wait 900 s."""
POLL_S: Final = 0.5
LOST_S_MAX: Final = 60.0
"""How long a dashboard may be away while a job is followed."""
TAIL_LINES: Final = 15
PYTHON: Final = ("python", "-m", "rayorch")
"""That of the cluster, or of the packages that the job asks for."""
_RAYS_OWN: Final = re.compile(r"\d{4}-\d\d-\d\d .*\bINFO\b|Running entrypoint for job ")
_MISSING: Final = re.compile(r"No module named '?([\w.]+)'?")

Say = Callable[[str], None]


def open_jobs(address: str) -> "RayJobs":
    """Return the job server of a cluster. Raises: ClusterError, SubmitError, NoAnswerError."""
    # Ray reads its settings when it is imported, and it takes a second.
    set_environment(address)
    from rayorch.host.ray_jobs import RayJobs  # noqa: PLC0415

    return RayJobs(checked_address(address))


def checked_address(address: str) -> str:
    """Return the address of a dashboard without a slash at its end. Raises: SubmitError."""
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SubmitError(
            "a cluster is submitted to by the address of its dashboard, http:// or https://",
            f"--address {address}",
            "--address http://127.0.0.1:8265; a Ray address (HOST:6379) is for RAY_ADDRESS and "
            "`rayorch run`",
        )
    return address.rstrip("/")


def check_shared(at: Connection, address: str) -> None:
    """Refuse a home that only this machine has. Raises: SubmitError.

    Behind a loopback address there may be this machine, or a tunnel: what the job did is looked
    for under the home when it has ended.
    """
    address = checked_address(address)
    if at.home.url.startswith("file:") and not _is_loopback(urlsplit(address).hostname or ""):
        raise SubmitError(
            "the home is on this machine, and the cluster would look for it on its own",
            f"home={at.home.url}, address={address}",
            "--home s3://BUCKET/_rayorch, or RAYORCH_HOME: a place that both of them reach",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def command_line(*words: str) -> str:
    """Return our command line as a job runs it."""
    return shlex.join([*PYTHON, *words])


def start_control(at: Connection, address: str, say: Say = lambda _: None) -> None:
    """Start a control actor that serves a home on a cluster. Raises: SubmitError, ClusterError."""
    _run(at, address, "up", say)


def end_control(at: Connection, address: str, say: Say = lambda _: None) -> None:
    """End the control actor of a home on a cluster. Raises: SubmitError, ClusterError."""
    _run(at, address, "down", say)


def _run(at: Connection, address: str, verb: str, say: Say) -> None:
    from rayorch.host.ray_jobs import JobAsk  # noqa: PLC0415 - as in `open_jobs`.

    check_shared(at, address)
    jobs = open_jobs(address)
    command = command_line(verb, "--address", "auto", "--home", at.home.url)
    ask = JobAsk(id=f"rayorch-{verb}-{new_nonce()[:12]}", command=command)
    state, log = run_job(jobs, ask, at.clock, say)
    if state.exit_code != 0:
        raise SubmitError(
            f"`rayorch {verb}` failed on the cluster",
            f"job={ask.id}, {ended_text(state)}",
            "\n".join([*tail_of(log), *hints_of(log)]),
        )


def run_job(
    jobs: "RayJobs", ask: "JobAsk", clock: Clock, say: Say, start_s_max: float = START_S_MAX
) -> "tuple[JobState, str]":
    """Run a job to its end, saying each line that it prints; return how it ended, and its log.

    Raises: SubmitError, when it does not begin in time, or the cluster forgets it; NoAnswerError.
    """
    jobs.submit(ask)
    said = 0
    begun_s = heard_s = clock.monotonic_s()
    while True:
        try:
            state = jobs.find(ask.id)
            log = "" if state is None or state.status == "PENDING" else jobs.log(ask.id)
        except RefusedTokenError:
            raise  # To ask again changes nothing.
        except (ClusterError, NoAnswerError):
            if clock.monotonic_s() - heard_s > LOST_S_MAX:
                raise NoAnswerError(jobs.address, f"about job {ask.id}", LOST_S_MAX) from None
            clock.sleep(POLL_S)
            continue
        heard_s = clock.monotonic_s()
        if state is None:
            fix = "its head has restarted: `rayorch runs` shows whether the run began"
            raise SubmitError("the cluster has forgotten the job", f"job={ask.id}", fix)
        # A line that is not complete yet is said later.
        upto = len(log) if state.is_over else log.rfind("\n") + 1
        for line in own_lines(log[said:upto]):
            say(line)
        said = max(said, upto)
        if state.is_over:
            return state, log
        if state.status == "PENDING" and clock.monotonic_s() - begun_s > start_s_max:
            jobs.stop(ask.id)
            raise never_began(ask, state, start_s_max)
        clock.sleep(POLL_S)


def never_began(ask: "JobAsk", state: "JobState", waited_s: float) -> SubmitError:
    """Return the error for a job that no node takes."""
    wants = [f"--entry-label {name}={value}" for name, value in ask.labels.items()]
    wants += [f"--entry-cpus {ask.cpus:g}"] if ask.cpus else []
    wants += [f"--entry-memory {ask.memory_bytes}"] if ask.memory_bytes else []
    asked = (
        f"it asks for {' '.join(wants)}: `ray status` shows what nodes have"
        if wants
        else ("`ray status` on the head shows what it waits for")
    )
    return SubmitError(
        f"the job did not begin within {waited_s:g} s, and was taken back",
        f"job={ask.id}",
        f"{state.message}\n{asked}; --start-within waits longer",
    )


def own_lines(text: str) -> list[str]:
    """Return the lines of a job's log that Ray did not write itself."""
    return [line for line in text.splitlines() if line.strip() and not _RAYS_OWN.match(line)]


def tail_of(log: str) -> Sequence[str]:
    """Return the end of a job's log."""
    return own_lines(log)[-TAIL_LINES:]


def ended_text(state: "JobState") -> str:
    """Return how a job ended, in a few words."""
    if state.exit_code is not None:
        return f"exit={state.exit_code}"
    *_, last = [state.status.lower(), *state.message.strip().splitlines()]
    return f"state={state.status}, message={last}"


def hints_of(log: str) -> list[str]:
    """Return what to do about what a job's log shows."""
    missing = _MISSING.findall(log)
    if not missing:
        return []
    name = missing[-1].partition(".")[0]
    if name == "rayorch":
        return ["the cluster has no rayorch: `--pip rayorch`, or put it into its nodes' image"]
    install = "`--pip PACKAGE` or `--requirements FILE` installs what has it, for the whole home"
    return [f"the cluster has no module {name}: {install}; or put it into its nodes' image"]
