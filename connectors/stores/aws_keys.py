"""Keys for S3 that the client cannot find by itself, and that change while a run goes.

obstore takes keys from the environment, from a container's or an instance's role and from a web
identity, and renews what those lend. What stands in AWS's files it does not read: profiles, roles
to assume, SSO, `credential_process`. botocore does, as every other AWS tool understands them.

    the client --asks--> AwsKeys --asks, when it must--> botocore --> files, processes, AWS

The client is told that keys last a few seconds, so that it asks again; most of the time the answer
is the one from before. Keys that expire are fetched anew before they do, by botocore; files are
read again when they have been written.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from connectors.errors import ConnectorError, MissingExtraError, StoreDeniedError
from connectors.stores.servers import S3_ENDPOINT, with_endpoint

if TYPE_CHECKING:
    from obstore.store import S3Credential

PROFILE: Final = "aws_profile"
"""The option that names a profile; it counts more than anything in the environment."""
ASKED_S: Final = 5.0
"""Keys that were replaced are used for so long at most, if nothing is refused before."""
_REPLACED_S: Final = 2 * ASKED_S
"""For so long after keys were replaced a client may still hold the old ones."""
_CLIENT_TTL_S: Final = 300.0
"""The client asks again for keys that last no longer than this."""
_LEFT_MIN: Final = 0.25
"""Keys are asked for again when this part of what they had left is over: those of some processes
last for seconds, and botocore would start such a process for each request."""
_GIVEN: Final = frozenset({"aws_access_key_id", "aws_secret_access_key", "aws_skip_signature"})
_KEYS_IN_ENVIRONMENT: Final = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"})
_REGIONS: Final = frozenset(
    {"aws_region", "aws_default_region", "region", "AWS_REGION", "AWS_DEFAULT_REGION"}
)
_FILES: Final = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
)


class Keys(NamedTuple):
    """What requests are signed with."""

    access_key: str
    secret_key: str
    token: str | None


def keys_for(options: Mapping[str, str]) -> "AwsKeys | None":
    """Return where keys for a store come from; None: the client finds them itself.

    That is botocore's order: an option's profile, keys in the environment, `AWS_PROFILE`, files.
    """
    given = {name.lower() for name in options}
    profile = next((value for name, value in options.items() if name.lower() == PROFILE), "")
    if profile:
        return _shared(profile)
    if given & _GIVEN or _KEYS_IN_ENVIRONMENT & os.environ.keys():
        return None
    named = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    if not named and not any(path.exists() for path in _files()):
        return None
    return _shared("")


_known: Final[dict[tuple[str, ...], "AwsKeys"]] = {}
_lock: Final = threading.Lock()


def _shared(profile: str) -> "AwsKeys":
    """One for all stores of this process: a process is started, and a role assumed, once."""
    named = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or ""
    place = (profile, named, *map(str, _files()))
    with _lock:
        if place not in _known:
            _known[place] = AwsKeys(profile)
        return _known[place]


def _files() -> list[Path]:
    return [Path(os.environ.get(name) or usual).expanduser() for name, usual in _FILES]


def server_of(keys: "AwsKeys", options: Mapping[str, str]) -> dict[str, str]:
    """Return where the server is by a profile, as far as nothing that counts more says it."""
    said = keys.server()
    given = {name.lower() for name in options} | os.environ.keys()
    if given & _REGIONS:
        said.pop("aws_region", None)
    if S3_ENDPOINT in with_endpoint("s3", options):
        said.pop(S3_ENDPOINT, None)
    return said


@contextmanager
def asked_of_aws(url: str) -> Iterator[None]:
    """Turn botocore's errors inside the block into ours."""
    try:
        yield
    except ConnectorError:
        raise
    # Whatever it is of botocore's many, there are no keys.
    except Exception as error:
        raise StoreDeniedError(url, "", f"there are no keys: {error}") from error


class AwsKeys:
    """The keys of one profile, as they are by now. Any thread."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._lock = threading.Lock()
        self._source: Any = None  # botocore's Credentials
        self._written: tuple[int, ...] = ()
        self._keys: Keys | None = None
        self._until_s = 0.0
        self._replaced_s = -_REPLACED_S

    def __call__(self) -> "S3Credential":
        """Return keys as the client wants them. Raises: what botocore raises."""
        keys = self.current()
        asks_again_in_s = max(0.0, self._until_s - time.monotonic())  # noqa: TID251
        # The time of another program's clock: this one is compared with it.
        soon = datetime.now(UTC) + timedelta(seconds=_CLIENT_TTL_S + asks_again_in_s)  # noqa: TID251
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": soon,
        }

    def current(self) -> Keys:
        """Return the keys of now. Raises: what botocore raises."""
        with self._lock:
            if self._keys is None or time.monotonic() >= self._until_s:  # noqa: TID251
                self._keys = self._asked()
            return self._keys

    def server(self) -> dict[str, str]:
        """Return what the profile says of the server. Raises: what botocore raises."""
        session = _session(self._profile)
        said = {
            "aws_region": session.get_config_variable("region"),
            S3_ENDPOINT: session.get_scoped_config().get("endpoint_url"),
        }
        return {name: value for name, value in said.items() if value}

    def were_replaced(self) -> bool:
        """Look again, and say whether a request may have been signed with keys that are no more."""
        with self._lock:
            self._keys = self._asked()
            return time.monotonic() - self._replaced_s < _REPLACED_S  # noqa: TID251

    def _asked(self) -> Keys:
        """Ask botocore, which reads files once: for files that were written since, a new one."""
        written = tuple(path.stat().st_mtime_ns for path in _files() if path.exists())
        if self._source is None or written != self._written:
            self._source, self._written = _loaded(self._profile), written
        frozen = self._source.get_frozen_credentials()
        now_s = time.monotonic()  # noqa: TID251
        self._until_s = now_s + _asked_again_in_s(self._source)
        keys = Keys(frozen.access_key, frozen.secret_key, frozen.token or None)
        if self._keys is not None and keys != self._keys:
            self._replaced_s = now_s
        return keys


def _session(profile: str) -> Any:  # noqa: ANN401 - botocore has no types.
    # A third of a second to import, for those who have profiles.
    try:
        from botocore.session import Session  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("a profile of AWS", "botocore", "s3") from error
    return Session(profile=profile or None)


def _loaded(profile: str) -> Any:  # noqa: ANN401
    found = _session(profile).get_credentials()
    if found is None:
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415 - as above.

        raise NoCredentialsError
    return found


def _asked_again_in_s(source: Any) -> float:  # noqa: ANN401
    # No public name tells when keys expire; those of a file have no such time at all.
    expires = getattr(source, "_expiry_time", None)
    if expires is None:
        return ASKED_S
    left_s: float = (expires - datetime.now(UTC)).total_seconds()  # noqa: TID251
    return max(0.0, min(ASKED_S, left_s * _LEFT_MIN))
