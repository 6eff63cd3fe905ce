"""Where it is measured, with what, and how busy that is."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil

from benchmarks.processes import load
from rayorch.bench.results import Machine

LIBRARIES: Final = (
    *("rayorch", "ray", "daft", "dask", "polars", "duckdb", "pyarrow", "deltalake", "numpy"),
    *("tpchgen-cli",),
)
PROCESSORS: Final = Path("/proc/cpuinfo")


def this_machine(asked: Mapping[str, str]) -> Machine:
    """Return where we are, and how busy it is."""
    minute, busy = load()
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)),
        versions={name: found for name in LIBRARIES if (found := version_of(name))},
        load_minute=minute,
        busy=busy,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=_processor(),
        memory_bytes=psutil.virtual_memory().total,
        asked=dict(asked),
    )


def _processor() -> str:
    lines = PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def version_of(library: str) -> str:
    """Return the version of a library, empty if it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
