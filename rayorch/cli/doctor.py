"""`doctor`: what this machine and a home can do, and what to do about what they cannot.

Each check is a function that yields findings. None starts a run, and what the checks write under
the home they remove again.
"""

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import click
import msgspec

from connectors.errors import (
    ConnectorError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from connectors.probe import probe_exclusive_create, probe_reads
from connectors.store import Store, open_store
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.cli.reading import metrics_text
from rayorch.client import Connection, connection, usable_cores
from rayorch.core.run import ACTIVE
from rayorch.errors import ClusterError, RayorchError
from rayorch.host import health_checks
from rayorch.host.ray_cluster import (
    STORE_BYTES,
    import_ray,
    temp_dir,
    warm_cluster,
)
from rayorch.host.reaching import unreachable
from rayorch.ids import new_nonce
from rayorch.looking import HomeReader, find_leader
from rayorch.observe.figures import bytes_text, counted

Status = Literal["ok", "warn", "fail"]

PYTHON_MIN: Final = (3, 11)
PYTHON_MAX: Final = (3, 13)
CORE_PACKAGES: Final = ("ray", "pyarrow", "deltalake", "fsspec")
EXTRAS: Final[Mapping[str, str]] = {
    "duckdb": "sql",
    "pandas": "pandas",
    "polars": "polars",
    "obstore": "s3",
    "s3fs": "s3",
    "gcsfs": "gcs",
    "adlfs": "azure",
}
DISK_BYTES_LOW: Final = 5 << 30
DISK_BYTES_MIN: Final = 500 << 20
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - only looked at.
CREDENTIALS: Final[Mapping[str, str]] = {
    "s3": "set AWS_PROFILE (an SSO profile wants `aws sso login` first), or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; AWS_REGION; and AWS_ENDPOINT_URL for a server that is not Amazon's",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
MARKS: Final[Mapping[Status, tuple[str, str]]] = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "red"),
}


class Finding(msgspec.Struct, frozen=True):
    """What one look has found, and what to do about it."""

    check: str
    status: Status
    found: str
    fix: str = ""


Findings = Iterator[Finding]


def doctor(options: Options) -> int:
    """Print what was found; the exit code is 1 if anything would keep a run from working."""
    at = connection(options.home)
    findings: list[Finding] = []
    looks = [*(check(at) for check in CHECKS), *(check_url(url) for url in options.urls)]
    for finding in chain.from_iterable(looks):
        findings.append(finding)
        if not options.as_json:
            _print(finding)
    failed = sum(finding.status == "fail" for finding in findings)
    if options.as_json:
        print_document({"ok": not failed, "findings": findings})
    elif failed:
        click.echo(f"{counted(failed, 'thing')} to mend before a run can work", err=True)
    return Exit.FAILED if failed else Exit.OK


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.status]
    click.echo(f"{click.style(mark, fg=colour)}  {finding.check:<14} {finding.found}")
    for line in finding.fix.splitlines():
        click.echo(f"      {'':<14} {line}")


# --- this process -------------------------------------------------------------------------------


def check_python(_at: Connection) -> Findings:
    """Python is one that we support."""
    said = f"{platform.python_version()} at {sys.executable}"
    if PYTHON_MIN <= sys.version_info[:2] <= PYTHON_MAX:
        yield Finding("python", "ok", said)
    else:
        yield Finding("python", "fail", said, "make a virtual environment of Python 3.11 to 3.13")


def check_packages(_at: Connection) -> Findings:
    """What must be installed is, and what may be."""
    for name in CORE_PACKAGES:
        try:
            yield Finding("package", "ok", f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("package", "fail", f"{name} is missing", "pip install rayorch")
    present = [name for name in EXTRAS if find_spec(name) is not None]
    missing = {name: extra for name, extra in EXTRAS.items() if name not in present}
    shown = ", ".join(f"{name} {version(name)}" for name in present) or "none"
    fixes = "\n".join(f"for {name}:  pip install 'rayorch[{e}]'" for name, e in missing.items())
    yield Finding("extras", "ok", shown, fixes)


def check_ray(at: Connection) -> Findings:
    """Ray can be imported, and the cluster that would be used answers."""
    try:
        ray = import_ray()
    except (ImportError, OSError) as error:
        yield Finding("ray", "fail", f"cannot be imported: {error}", "pip install --force ray")
        return
    yield Finding("ray", "ok", f"version {ray.__version__}, {counted(usable_cores(), 'core')} here")
    address = at.settings.ray_address
    if address:
        yield from _cluster("RAY_ADDRESS", address)
    warm = warm_cluster()
    if warm is not None:
        yield from _cluster("up", warm.address, "`rayorch down`, then `rayorch up`")
    else:
        yield Finding("up", "ok", "no Ray is kept warm: `rayorch up` makes runs start at once")


def _cluster(check: str, address: str, fix: str = "") -> Findings:
    """A cluster answers; then, how soon it gives a dead machine up."""
    refusal = unreachable(address)
    if refusal is not None:
        said = f"{address} cannot be used: {refusal.why}"
        yield Finding(check, "fail", said, fix or refusal.fix)
        return
    yield Finding(check, "ok", f"{address} answers")
    try:
        told = health_checks.head_settings(address)
    except ClusterError as error:
        fix = f"whether its head has {_variables(health_checks.WANTED)} could not be seen"
        yield Finding("health checks", "warn", str(error), fix)
        return
    yield _health(told)


def _health(told: Mapping[str, int]) -> Finding:
    ended_s, silent_s = health_checks.ended_s(told), health_checks.silent_s(told)
    said = f"a dead machine is given up after {ended_s:g} s, a silent one after {silent_s:g} s"
    wanted = health_checks.WANTED
    late_s = ended_s - health_checks.ended_s(wanted)
    if late_s <= 0:
        return Finding("health checks", "ok", said)
    missing = {name: value for name, value in wanted.items() if name not in told}
    fix = (
        f"a control actor, or a runner, on it goes on elsewhere {late_s:g} s later than it could: "
        f"start the head with\n{_variables(missing or wanted)}"
    )
    return Finding("health checks", "warn", said, fix)


def _variables(settings: Mapping[str, int]) -> str:
    return " ".join(f"RAY_{name}={value}" for name, value in settings.items())


# --- the home -----------------------------------------------------------------------------------


def check_home(at: Connection) -> Findings:
    """The home can be written, read, and raced for; then, its journal folds."""
    is_usable = False
    for finding in check_place("home", at.home.store):
        is_usable = is_usable or finding.check == "race"
        yield finding
    if is_usable:
        yield from _journal(at)


def check_place(name: str, store: Store) -> Findings:
    """A store can be written and read, and what it promises; what it keeps is raced for."""
    key, data = f".probe/doctor-{new_nonce()}", b"rayorch doctor"
    try:
        store.put(key, data)
        same = store.get(key) == data
        store.delete([key])
    except ConnectorError as error:
        yield Finding(name, "fail", str(error), _store_fix(store.url, error))
        return
    if not same:
        fix = f"keep the {name} on a local disk, s3://, gs:// or az://"
        yield Finding(name, "fail", f"{store.url} does not return what was written", fix)
        return
    yield Finding(name, "ok", f"{store.url} can be written and read")
    yield from _race(store)
    yield from _reads(store)
    if store.promises.durable:
        said = "writes survive a power cut, as the store says: that cannot be probed"
        yield Finding("durable", "ok", said)
    else:
        fix = "fine for tests; a run cannot be resumed after a power cut"
        yield Finding("durable", "warn", f"writes may be lost with the machine: {store.url}", fix)
    if store.promises.note:
        yield Finding("note", "ok", store.promises.note)


def check_url(url: str) -> Findings:
    """A place to read from or write to can be opened, and what its store promises."""
    try:
        store = open_store(url)
    except ConnectorError as error:
        yield Finding("place", "fail", str(error), "`connectors/README.md` lists what opens")
        return
    yield from check_place("place", store)


def _race(store: Store) -> Findings:
    try:
        report = probe_exclusive_create(store)
    except StoreError as error:
        yield Finding("race", "fail", str(error), _store_fix(store.url, error))
        return
    said = f"{report.contenders} contenders, {counted(report.rounds, 'round')}"
    if report.atomic:
        yield Finding("race", "ok", f"one winner for each key ({said})")
    else:
        yield Finding("race", "fail", f"{report.reason} ({said})", UnsafeStoreError.advice)


def _reads(store: Store) -> Findings:
    """Through a second client: what was written is seen, and what was deleted is not."""
    try:
        report = probe_reads(store)
    except StoreError as error:
        yield Finding("promises", "fail", str(error), _store_fix(store.url, error))
        return
    looks = f"{counted(report.looks, 'look')} of a second client"
    if report.stale:
        said = f"reads lag: {'; '.join(report.stale)} ({looks})"
        yield Finding("promises", "fail", said, UnsafeStoreError.advice)
    elif store.promises.read_after_write:
        yield Finding("promises", "ok", f"a read sees every write and delete before it ({looks})")
    else:
        said = f"{looks} saw every write and delete, but the store does not promise that"
        yield Finding("promises", "warn", said, UnsafeStoreError.advice)


def _store_fix(url: str, error: ConnectorError) -> str:
    scheme = url.partition("://")[0]
    if isinstance(error, StoreDeniedError | StoreUnavailableError) and scheme in CREDENTIALS:
        return CREDENTIALS[scheme]
    return str(getattr(error, "advice", "")) or "choose another home: --home or RAYORCH_HOME"


def _journal(at: Connection) -> Findings:
    try:
        runs = HomeReader(at).look().runs.values()
        active = sum(run.state in ACTIVE for run in runs)
        yield Finding("journal", "ok", f"{counted(len(runs), 'run')}, {active} active")
        leader = find_leader(at)
    except (RayorchError, ConnectorError) as error:
        fix = "`rayorch fsck` says what is lost and what can be mended"
        yield Finding("journal", "fail", str(error), fix)
        return
    if leader is not None:
        said = f"{leader.name}, pid {leader.pid} on {leader.machine} is at work on {leader.run}"
        yield Finding("leader", "ok", said)
        if metrics := metrics_text(leader):
            yield Finding("metrics", "ok", metrics)


# --- disk and memory ----------------------------------------------------------------------------


def check_room(at: Connection) -> Findings:
    """There is room where we write."""
    inside = at.home.store.local_path("x")
    if inside is not None:
        yield _room("home disk", Path(inside).parent)
    yield _room("temp disk", Path(tempfile.gettempdir()))
    yield _room("ray disk", Path(temp_dir()))
    if SHARED_MEMORY.is_dir():
        yield _shared_memory(shutil.disk_usage(SHARED_MEMORY).free)


def _room(check: str, folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    said = f"{bytes_text(free_bytes)} free at {folder}"
    if free_bytes < DISK_BYTES_MIN:
        return Finding(check, "fail", said, "free some space there")
    if free_bytes < DISK_BYTES_LOW:
        return Finding(check, "warn", said, "large outputs and spilled rows may fill it")
    return Finding(check, "ok", said)


def _shared_memory(free_bytes: int) -> Finding:
    said = f"{bytes_text(free_bytes)} free in {SHARED_MEMORY}"
    if free_bytes >= STORE_BYTES:
        return Finding("shared memory", "ok", said)
    fix = f"Ray wants {bytes_text(STORE_BYTES)}; in a container: --shm-size=512m"
    return Finding("shared memory", "warn", said, fix)


CHECKS: Final[tuple[Callable[[Connection], Findings], ...]] = (
    check_python,
    check_packages,
    check_ray,
    check_home,
    check_room,
)
