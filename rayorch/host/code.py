"""Which code of this library a process runs, so that unlike ones refuse to work together."""

import functools
import hashlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rayorch.version import versions

ALIKE: Final = ("ray", "pyarrow", "duckdb")
"""Libraries that carry rows or compute with them: unlike ones make unlike outputs of one run."""


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


@functools.cache
def code_here() -> Mapping[str, str]:
    """Return what this process runs: our code, Python, and the libraries that must be alike."""
    return {"rayorch": library_code(), "python": platform.python_version(), **versions(ALIKE)}


def unlike(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Return in what a process differs from ours, or nothing when it is like it."""
    names = sorted({*theirs, *ours}, key=lambda name: (name != "rayorch", name))
    return ", ".join(
        f"{name} {theirs.get(name, 'unknown')} and not {ours.get(name, 'none')}"
        for name in names
        if theirs.get(name) != ours.get(name)
    )
