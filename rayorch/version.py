"""Which version of this library this is."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def our_version() -> str:
    """Return the version that is installed; `unknown`, when it runs from a folder."""
    try:
        return version("rayorch")
    except PackageNotFoundError:
        return "unknown"
