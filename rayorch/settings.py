"""What the environment says, read once and handed down as a value. Nothing else reads it."""

import os
from collections.abc import Mapping
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from connectors.errors import BadUrlError
from connectors.url import parse_url
from rayorch.errors import SettingsError, near_miss

ExecutorName = Literal["ray", "in-process"]
EXECUTORS: Final[tuple[str, ...]] = get_args(ExecutorName)
CACHE_DIR: Final = "~/.cache/rayorch/ranges"
CACHE_BYTES: Final = 10 << 30
HOME_USUAL: Final = "~/.rayorch"
AWS_METADATA_URL: Final = "http://169.254.169.254"
GCP_METADATA_URL: Final = "http://metadata.google.internal"


class Settings(BaseModel):
    """Where the home is, and what executes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: str
    executor: ExecutorName = "ray"
    ray_address: str | None = None


class Metadata(BaseModel):
    """Where a machine asks what its cloud says of it; "" where it is not to ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aws_url: str = AWS_METADATA_URL
    gcp_url: str = GCP_METADATA_URL


class Cache(BaseModel):
    """Where runners keep what they read of remote objects, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    bytes_max: int


def load_cache(environ: Mapping[str, str]) -> Cache | None:
    """Return the cache that a machine's runners share; None: it has none.

    RAYORCH_CACHE_DIR and RAYORCH_CACHE_BYTES are read; one of them is enough, and 0 bytes are none.
    Raises: SettingsError, naming the variable.
    """
    folder, said = environ.get("RAYORCH_CACHE_DIR"), environ.get("RAYORCH_CACHE_BYTES")
    if not folder and not said:
        return None
    try:
        bytes_max = int(said) if said else CACHE_BYTES
    except ValueError:
        bytes_max = -1
    if bytes_max < 0:
        problem = "a number of bytes is needed, or 0 for no cache"
        raise SettingsError(problem, "RAYORCH_CACHE_BYTES", str(said))
    if bytes_max == 0:
        return None
    path = os.path.abspath(os.path.expanduser(folder or CACHE_DIR))
    return Cache(folder=path, bytes_max=bytes_max)


def load_metadata(environ: Mapping[str, str]) -> Metadata:
    """Return where to ask, by the variables that the clouds' own clients read.

    AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT and GCE_METADATA_HOST are read.
    """
    disabled = environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    aws_url = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or AWS_METADATA_URL
    host = environ.get("GCE_METADATA_HOST")
    return Metadata(
        aws_url="" if disabled else aws_url,
        gcp_url=f"http://{host}" if host else GCP_METADATA_URL,
    )


def load_settings(
    environ: Mapping[str, str], *, home: str | None = None, executor: str | None = None
) -> Settings:
    """Return the settings: what is given, else what the environment says, else what is usual.

    RAYORCH_HOME, RAYORCH_EXECUTOR and RAY_ADDRESS are read.

    Raises: SettingsError, naming the option or variable.
    """
    home_name = "--home" if home else "RAYORCH_HOME"
    chosen_home = home or environ.get("RAYORCH_HOME") or HOME_USUAL
    try:
        url = parse_url(chosen_home).url
    except BadUrlError as error:
        problem = f"the home is not a URL: {error.reason}"
        raise SettingsError(problem, home_name, error.url) from None
    executor_name = "--executor" if executor else "RAYORCH_EXECUTOR"
    chosen = executor or environ.get("RAYORCH_EXECUTOR") or "ray"
    if chosen not in EXECUTORS:
        hint = near_miss(chosen, EXECUTORS) or f"known: {', '.join(EXECUTORS)}"
        raise SettingsError(f"unknown executor; {hint}", executor_name, chosen)
    return Settings.model_validate(
        {"home": url, "executor": chosen, "ray_address": environ.get("RAY_ADDRESS") or None}
    )
