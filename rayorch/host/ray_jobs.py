"""Ray Jobs over HTTP: how a command gets to run on a cluster that this process is no part of.

Ray's own client does the work. What it lacks is added here: every request has a time limit, a job
whose submission was not answered is looked up by its id, and what comes back is put in our words.
Nobody but this process needs the versions of the cluster.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from rayorch.errors import ClusterError, RayorchError, RefusedTokenError
from rayorch.host.ray_errors import ACCESS_FIX
from rayorch.submit_errors import NoAnswerError, SubmitError

CONNECT_S_MAX: Final = 5.0
ANSWER_S_MAX: Final = 60.0
"""An upload of 500 MB is one request, too: this bounds the silence, not the whole."""
REACH_FIX: Final = (
    "is the cluster up, and is this the address of its dashboard? From outside, forward it:\n"
    "`ray dashboard cluster.yaml`, or `kubectl port-forward service/NAME-head-svc 8265:8265`;\n"
    "then --address http://127.0.0.1:8265"
)
NO_JOBS_FIX: Final = (
    "start the head with its dashboard: `pip install 'ray[default]'` on the cluster"
)
PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"


class JobAsk(msgspec.Struct, frozen=True):
    """A command to run on a cluster."""

    id: str
    command: str
    package: Path | None = None  # the packed working directory
    pip: tuple[str, ...] = ()
    cpus: float = 0.0
    memory_bytes: int = 0
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)  # of the node it runs on


class JobState(msgspec.Struct, frozen=True):
    """Where a job stands."""

    status: str  # PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED
    message: str = ""
    exit_code: int | None = None  # of the command, once it has ended by itself

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status not in {PENDING, RUNNING}


class _PatientClient(JobSubmissionClient):
    """Ray's client, which by itself waits for ever for a dashboard that hangs."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:  # noqa: ANN401 - as Ray says.
        options.setdefault("timeout", (CONNECT_S_MAX, ANSWER_S_MAX))
        return super()._do_request(method, endpoint, **options)


class RayJobs:
    """The job server of one cluster."""

    def __init__(self, address: str) -> None:
        self.address = address
        logging.getLogger("ray").setLevel(logging.ERROR)
        self.ray_version = self._connected()

    def submit(self, ask: JobAsk) -> None:
        """Begin a job. Raises: SubmitError; NoAnswerError, when it may have begun or not."""
        if self.find(ask.id) is not None:
            raise id_taken(ask.id, self.address)
        environment: dict[str, Any] = {}
        if ask.package is not None:
            environment["working_dir"] = str(ask.package)
        if ask.pip:
            environment["pip"] = list(ask.pip)
        try:
            self._client.submit_job(
                entrypoint=ask.command,
                submission_id=ask.id,
                runtime_env=environment,
                metadata={"rayorch": ask.id},
                entrypoint_num_cpus=ask.cpus or None,
                entrypoint_memory=ask.memory_bytes or None,
                entrypoint_label_selector=dict(ask.labels) or None,
            )
        except requests.exceptions.RequestException as error:
            # It may have arrived: whoever asks twice under one id gets one job.
            if self.find(ask.id) is None:
                raise NoAnswerError(self.address, "to run a job", ANSWER_S_MAX) from error
        except (RuntimeError, ValueError) as error:
            if "already exists" in str(error):
                raise id_taken(ask.id, self.address) from None
            fix = f"`ray job list --address {self.address}` shows what it has taken"
            raise SubmitError("the cluster refuses the job", _said(error), fix) from error

    def find(self, job: str) -> JobState | None:
        """Return where a job stands; None: there is none of this id."""
        response = self._asked("GET", f"/api/jobs/{job}")
        if response.status_code == requests.codes.not_found:
            return None
        if not response.ok:
            raise ClusterError(self.address, f"HTTP {response.status_code}", NO_JOBS_FIX)
        found: dict[str, Any] = response.json()
        return JobState(
            status=str(found["status"]),
            message=str(found.get("message") or ""),
            exit_code=found.get("driver_exit_code"),
        )

    def log(self, job: str) -> str:
        """Return all that a job has printed so far; nothing, while that cannot be read."""
        response = self._asked("GET", f"/api/jobs/{job}/logs")
        if not response.ok:
            return ""
        return str(response.json().get("logs") or "")

    def stop(self, job: str) -> None:
        """End a job, if it goes on; what it has begun elsewhere goes on."""
        self._asked("POST", f"/api/jobs/{job}/stop")

    def _connected(self) -> str:
        why = "what answers there is no Ray dashboard"
        try:
            self._client = _PatientClient(self.address)
            response = self._client._do_request("GET", "/api/version")  # noqa: SLF001 - see above.
            return str(response.json()["ray_version"])
        except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
            raise ClusterError(self.address, why, REACH_FIX) from None
        except requests.exceptions.HTTPError as error:
            raise ClusterError(self.address, f"{why}: {error}", REACH_FIX) from error
        except (
            requests.exceptions.RequestException,
            AuthenticationError,
            ConnectionError,
            RuntimeError,
        ) as error:
            raise self._error(error) from error

    def _asked(self, method: str, path: str) -> requests.Response:
        try:
            return self._client._do_request(method, path)  # noqa: SLF001 - see above.
        except (requests.exceptions.RequestException, AuthenticationError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> RayorchError:
        if isinstance(error, AuthenticationError):
            missing = "no token was sent" if "required" in _said(error) else "it refuses our token"
            return RefusedTokenError(self.address, f"{missing}: {_said(error)}", ACCESS_FIX)
        if isinstance(error, requests.exceptions.ReadTimeout):
            return NoAnswerError(self.address, "over HTTP", ANSWER_S_MAX)
        return ClusterError(self.address, _reason(error), REACH_FIX)


def id_taken(job: str, where: str) -> SubmitError:
    """Return the error for an id that is in use."""
    fix = f"`rayorch show {job}` says how it stands; for another run, choose another --id"
    return SubmitError("this id is taken already", f"id={job}, at={where}", fix)


def _reason(error: Exception) -> str:
    """Return the innermost reason of a failed request; what is wrapped around it says nothing."""
    inner: BaseException = error
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    return str(inner).strip() or type(inner).__name__


def _said(error: Exception) -> str:
    """Return the line that says it: the last of a server's traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if "Traceback" in str(error) else 0][:500]
