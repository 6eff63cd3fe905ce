"""What a cloud says of a spot machine, on that machine: that it is going to be taken back.

One port, `Notices`, and behind it the metadata services of AWS (IMDSv2) and Google Cloud. A watch
on each node asks, and hands what it hears to whoever can drain the node; who runs what elsewhere
is decided where all drains are seen.

Source: docs.aws.amazon.com, "Spot Instance interruption notices" and "Use IMDSv2";
cloud.google.com, "Detect if a VM was preempted" and "About VM metadata".
"""

import fcntl
import http.client
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from rayorch.clock import Clock
from rayorch.runner.errors import NoticesError
from rayorch.settings import Metadata

ANSWER_S_MAX: Final = 2.0
TOKEN_S: Final = 21_600
NOT_FOUND: Final = 404
UNAUTHORIZED: Final = 401
AWS_POLL_S: Final = 5.0
"""As AWS asks: a notice comes two minutes ahead."""
GCP_POLL_S: Final = 1.0
GCP_NOTICE_S: Final = 30.0
RETRY_S: Final = 15.0
"""Between two tries where no metadata service answers, or another process of the node watches."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """A machine goes at `until_s`, on the wall clock."""

    until_s: float
    reason: str


class Notices(Protocol):
    """Where a machine learns that it is going to be taken back."""

    @property
    def poll_s(self) -> float:
        """How often to look."""
        ...

    def look(self) -> Notice | None:
        """Return the notice, once there is one. Raises: NoticesError."""
        ...


class _Action(msgspec.Struct):
    action: str
    time: str


class AwsNotices:
    """The instance metadata service of EC2, version 2: a token first, then the question."""

    poll_s = AWS_POLL_S

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._token = ""

    def look(self) -> Notice | None:
        """Return the interruption notice, once there is one. Raises: NoticesError."""
        status, body = self._asked()
        if status == UNAUTHORIZED:
            # The token has run out, or the machine was cloned from another.
            self._token = ""
            status, body = self._asked()
        if status == NOT_FOUND:
            return None
        if status != http.client.OK:
            raise NoticesError(self._url, f"spot/instance-action was answered by {status}")
        try:
            said = msgspec.json.decode(body, type=_Action)
            until_s = datetime.fromisoformat(said.time).timestamp()
        except (msgspec.DecodeError, ValueError) as error:
            raise NoticesError(self._url, f"spot/instance-action says {body[:80]!r}") from error
        return Notice(until_s, f"AWS takes the spot instance back: {said.action}")

    def _asked(self) -> tuple[int, bytes]:
        if not self._token:
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
            status, token = _answer(f"{self._url}/latest/api/token", ttl, "PUT")
            if status != http.client.OK:
                raise NoticesError(self._url, f"no token was given: {status}")
            self._token = token.decode()
        own = {"X-aws-ec2-metadata-token": self._token}
        return _answer(f"{self._url}/latest/meta-data/spot/instance-action", own)


class GcpNotices:
    """The metadata server of Compute Engine."""

    poll_s = GCP_POLL_S

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._clock = clock

    def look(self) -> Notice | None:
        """Return the preemption notice, once there is one. Raises: NoticesError."""
        url = f"{self._url}/computeMetadata/v1/instance/preempted"
        status, body = _answer(url, {"Metadata-Flavor": "Google"})
        if status != http.client.OK or body.strip() not in (b"TRUE", b"FALSE"):
            raise NoticesError(self._url, f"instance/preempted was answered by {status} {body!r}")
        if body.strip() == b"FALSE":
            return None
        until_s = self._clock.now_s() + GCP_NOTICE_S
        return Notice(until_s, "Google Cloud preempts the spot VM")


def _answer(url: str, headers: dict[str, str], method: str = "GET") -> tuple[int, bytes]:
    """Ask a metadata service: never by a proxy, and never for long."""
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_S_MAX) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoticesError(url, str(error)) from error


def found_notices(metadata: Metadata, clock: Clock) -> Notices | None:
    """Return the metadata service that answers here, if one does."""
    some: list[Notices] = []
    if metadata.aws_url:
        some.append(AwsNotices(metadata.aws_url))
    if metadata.gcp_url:
        some.append(GcpNotices(metadata.gcp_url, clock))
    for notices in some:
        try:
            notices.look()
        except NoticesError:
            continue
        return notices
    return None


class NoticeWatch:
    """Asks from a thread, in one process of each node; a notice is passed on once."""

    def __init__(
        self,
        find: Callable[[], Notices | None],
        on_notice: Callable[[Notice], None],
        lock: Path,
    ) -> None:
        self._find = find
        self._on_notice = on_notice
        self._lock = lock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rayorch-notices", daemon=True)

    def start(self) -> None:
        """Begin to watch, as soon as no other process of this node does."""
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._ending.set()
        self._thread.join(ANSWER_S_MAX)

    def _watch(self) -> None:
        descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # The kernel lets go of it when this process ends, however it does.
            while not _locked(descriptor):
                if self._ending.wait(RETRY_S):
                    return
            self._ask()
        finally:
            os.close(descriptor)

    def _ask(self) -> None:
        while (notices := self._find()) is None:
            if self._ending.wait(RETRY_S):
                return
        pause_s = 0.0
        while not self._ending.wait(pause_s):
            pause_s = notices.poll_s
            try:
                notice = notices.look()
                if notice is not None:
                    self._on_notice(notice)
                    return
            except NoticesError as error:
                logger.warning("cannot ask for a spot notice. reason=%s", error)
                pause_s = RETRY_S


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
