"""Which version of this library this is, and of others."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version


def our_version() -> str:
    """Return the version that is installed; `unknown`, when it runs from a folder."""
    return _installed("rayorch") or "unknown"


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those that are installed, without importing them."""
    found = {name: _installed(name) for name in names}
    return {name: number for name, number in found.items() if number is not None}


@cache  # A process keeps what it has imported, and each takes milliseconds to read.
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
