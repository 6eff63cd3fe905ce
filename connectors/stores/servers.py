"""Whose server a scheme means, and where that is, by all the names under which users say it."""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

S3_SCHEMES: Final = frozenset({"s3", "s3a"})
GS_SCHEMES: Final = frozenset({"gs", "gcs"})
AZURE_SCHEMES: Final = frozenset({"az", "abfs"})
S3_ENDPOINT: Final = "aws_endpoint_url_s3"
"""Clients prefer AWS_ENDPOINT_URL_S3 in the environment to an explicit `endpoint`: this is the
strongest name for it, so that what the caller gave counts."""


class _Names(NamedTuple):
    """The first that is given counts; under the first of the options the clients are told."""

    options: tuple[str, ...]
    variables: tuple[str, ...]


_S3: Final = _Names(
    (S3_ENDPOINT, "aws_endpoint_url", "endpoint_url", "endpoint", "aws_endpoint"),
    ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
)
_GOOGLE: Final = _Names(("google_base_url", "base_url"), ("GOOGLE_BASE_URL",))
_AZURE: Final = _Names(
    ("azure_storage_endpoint", "azure_endpoint", "endpoint"), ("AZURE_STORAGE_ENDPOINT",)
)
_NAMES: Final[Mapping[str, _Names]] = {
    **dict.fromkeys(S3_SCHEMES, _S3),
    **dict.fromkeys(GS_SCHEMES, _GOOGLE),
    **dict.fromkeys(AZURE_SCHEMES, _AZURE),
}


def with_endpoint(scheme: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return options, in lower case, that say once where the server is, if anything says it.

    What the environment says is among them then.
    """
    said = {name.lower(): value for name, value in options.items()}
    names = _NAMES.get(scheme)
    if names is None:
        return said
    given = [value for name in names.options if (value := said.pop(name, ""))]
    given += [os.environ.get(variable, "") for variable in names.variables]
    endpoint = next(filter(None, given), "")
    return {**said, names.options[0]: endpoint} if endpoint else said


def is_unencrypted(scheme: str, said: Mapping[str, str]) -> bool:
    """Say whether an endpoint among `with_endpoint`'s options says http://, and so means it."""
    names = _NAMES.get(scheme)
    return names is not None and said.get(names.options[0], "").startswith("http://")
