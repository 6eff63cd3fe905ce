"""Look at a place that was published to: is what readers see what was written. Changes nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

import msgspec
import xxhash

from connectors.errors import ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from connectors.outputs import SinkSpec
    from connectors.store import Store

FaultKind = Literal[
    "damaged",  # readers see something else than was written, or nothing
    "doubtful",  # it is not as it was left, and may have been changed on purpose
    "orphan",  # nothing that anybody could read names it
]
_PIECE_BYTES: Final = 8 << 20


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One object that is not what it should be; `mended` is what it was, where that is certain."""

    kind: FaultKind
    key: str
    what: str
    mended: bytes | None = None


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says that it published here."""

    run: str
    app_id: str
    generation: int
    version: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever published here knows of the place."""

    publications: tuple[Publication, ...] = ()
    checksums: dict[str, str] = {}  # of files, as far as they are known
    closed: frozenset[str] = frozenset()  # runs that will never publish more than they have


class Seen(msgspec.Struct, kw_only=True):
    """What was found at a place."""

    files: int = 0
    size_bytes: int = 0
    unsummed: int = 0  # files whose checksum nobody knows any more: only their sizes were compared
    faults: list[Fault] = []


class StoredFile(Protocol):
    """What is said of a file where it was published."""

    @property
    def key(self) -> str:
        """Where it is."""
        ...

    @property
    def size_bytes(self) -> int:
        """How large it was written."""
        ...


class _AuditModule(Protocol):
    def audit(self, spec: SinkSpec, expected: Expected, *, deep: bool) -> Seen: ...


def audit_place(spec: SinkSpec, expected: Expected, *, deep: bool = True) -> Seen:
    """Compare what is at a sink's place with what was published there.

    With `deep` every file that readers see is read and its checksum compared; else only sizes.
    Raises: StoreError, BadUrlError, MissingExtraError.
    """
    # By name, as in `open_sink`: delta-rs is wanted by those who write Delta only.
    name = "delta_audit" if spec.format == "delta" else "files_audit"
    module = cast("_AuditModule", importlib.import_module(f"connectors.formats.{name}"))
    return module.audit(spec, expected, deep=deep)


def look_at_files(
    store: Store,
    files: Iterable[StoredFile],
    checksums: Mapping[str, str],
    seen: Seen,
    *,
    deep: bool,
) -> None:
    """Note which of the files that readers see are not what was written."""
    for file in files:
        seen.files += 1
        seen.size_bytes += file.size_bytes
        checksum = checksums.get(file.key, "")
        seen.unsummed += not checksum
        what = wrong_with(store, file.key, file.size_bytes, checksum if deep else "")
        if what:
            seen.faults.append(Fault(kind="damaged", key=file.key, what=what))


def wrong_with(store: Store, key: str, size_bytes: int, checksum: str) -> str:
    """Return what is wrong with a file; nothing, when it is what was written.

    Without a checksum it is not read.
    """
    info = store.head(key)
    if info is None:
        return "it is missing"
    if info.size_bytes != size_bytes:
        return f"it has {info.size_bytes:,} bytes and had {size_bytes:,}"
    if not checksum:
        return ""
    found = xxhash.xxh3_64()
    try:
        with store.open_input(key) as file:
            while piece := file.read(_PIECE_BYTES):
                found.update(piece)
    except ObjectMissingError:
        return "it is missing"
    return "" if found.hexdigest() == checksum else "its checksum does not match its content"


def orphans(
    store: Store, prefix: str, runs: AbstractSet[str], named: AbstractSet[str]
) -> Iterator[Fault]:
    """Yield the files of closed runs that nothing names. Other runs' files are left alone."""
    for run in sorted(runs):
        for info in store.list(f"{prefix}{run}/"):
            if info.key not in named:
                what = f"no version names it ({info.size_bytes:,} bytes)"
                yield Fault(kind="orphan", key=info.key, what=what)


def newest_first(publications: Sequence[Publication]) -> list[Publication]:
    """Return publications by their version, the newest first."""
    return sorted(publications, key=lambda each: (int(each.version), each.run), reverse=True)
