"""Which code of this library a process runs, so that unlike ones refuse to work together."""

import functools
import hashlib
import sys
from pathlib import Path


@functools.cache
def library_code() -> str:
    """Return a fingerprint of all source files of rayorch and connectors."""
    here = Path(__file__).resolve().parents[2]
    digest = hashlib.blake2b(digest_size=8)
    for package in ("rayorch", "connectors"):
        for path in sorted((here / package).rglob("*.py")):
            digest.update(str(path.relative_to(here)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def python_version() -> str:
    """Return the version of Python that pickled functions are good for, as "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
