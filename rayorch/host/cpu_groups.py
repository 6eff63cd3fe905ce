"""Groups of processes that may use so much of this machine's cores and no more: Linux' cgroups.

Version 2 has one tree and `cpu.max`, version 1 a tree for the cpu controller and two files. Where
neither can be written there is no group, and the reason is told: nothing is pretended.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000
QUOTA_US_MIN: Final = 1_000
"""The least that the kernel takes."""


class CpuGroupError(Exception):
    """No group can be made; the text says why."""


class CpuGroup:
    """A group of processes and their future children, limited to a number of cores."""

    def __init__(self, name: str, cores: float, root: Path = ROOT) -> None:
        self._path = _parent(root) / name
        quota_us = max(QUOTA_US_MIN, int(cores * PERIOD_US))
        try:
            self._path.mkdir()
        except OSError as error:
            raise CpuGroupError(f"{self._path}: {(error.strerror or '').lower()}") from error
        try:
            self._limit(quota_us)
        except (OSError, CpuGroupError) as error:
            self._path.rmdir()
            raise CpuGroupError(f"{self._path}: {error}") from error

    def add(self, pids: Iterable[int]) -> None:
        """Limit processes; what they start from now on is limited, too. Raises: CpuGroupError."""
        for pid in pids:
            try:
                (self._path / "cgroup.procs").write_text(str(pid))
            except ProcessLookupError:
                continue  # It has just ended.
            except OSError as error:
                # One that runs in real time is in no group that has no part of it.
                why = (error.strerror or "").lower()
                raise CpuGroupError(f"{self._path}: process {pid}: {why}") from error

    def close(self) -> None:
        """Remove the group; processes that are in it go where this process is."""
        for pid in (self._path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (self._path.parent / "cgroup.procs").write_text(pid)
        self._path.rmdir()

    def _limit(self, quota_us: int) -> None:
        if (self._path / "cpu.max").exists():
            (self._path / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        elif (self._path / "cpu.cfs_quota_us").exists():
            (self._path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._path / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            raise CpuGroupError("the cpu controller is not delegated to this process")


def _parent(root: Path) -> Path:
    """Return the group of this process, in the tree that has the cpu controller."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError as error:
        raise CpuGroupError(f"this machine has no cgroups: {error.strerror}") from error
    paths = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.lstrip("/")
    if (root / "cgroup.controllers").exists():
        return root / paths.get("", "")
    if "cpu" in paths:
        return root / "cpu" / paths["cpu"]
    raise CpuGroupError(f"no cgroup of this process has the cpu controller, under {root}")


def group_name(node: str) -> str:
    """Return a name that no other process of this machine gives its groups."""
    return f"rayorch-{os.getpid()}-{node.replace(' ', '_')}"
