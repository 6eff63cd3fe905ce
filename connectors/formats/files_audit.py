"""Look at plain files that were published by manifests."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from connectors.audit import Fault, Seen, look_at_files, newest_first, orphans
from connectors.data_errors import CorruptFileError
from connectors.formats.files import store_options
from connectors.formats.files_sink import DATA
from connectors.manifest import MANIFESTS, Manifest, decode_manifest, manifest_key
from connectors.sealed import is_sealed, mended
from connectors.store import open_store
from connectors.url import join_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.audit import Expected
    from connectors.outputs import SinkSpec
    from connectors.store import Store


def audit(spec: SinkSpec, expected: Expected, *, deep: bool) -> Seen:
    """Look at the manifests, the files that the newest one makes visible, and the rest."""
    store = open_store(spec.url, store_options(spec.options))
    seen = Seen()
    numbers = sorted(_numbers(store))
    newest = numbers[-1] if numbers else -1
    found, faults = _read(store, numbers)
    seen.faults += _unpublished(expected, numbers)
    visible = {newest, *(found[newest].previous if newest in found else ())}
    for number, fault in faults.items():
        # What no reader looks at hurts nobody, but it is not what was written.
        is_seen = number in visible
        seen.faults.append(fault if is_seen else msgspec.structs.replace(fault, kind="doubtful"))
    for number in sorted(visible - set(numbers) - {-1}):
        what = f"it is missing, and manifest {newest} adds to it"
        seen.faults.append(Fault(kind="damaged", key=manifest_key(number), what=what))
    shown = [found[number].files for number in sorted(visible) if number in found]
    checksums = {file.key: file.checksum for file in chain.from_iterable(shown)}
    look_at_files(store, chain.from_iterable(shown), checksums, seen, deep=deep)
    if len(found) == len(numbers):
        named = {file.key for manifest in found.values() for file in manifest.files}
        seen.faults += orphans(store, DATA, expected.closed, named)
    return seen


def _numbers(store: Store) -> Iterator[int]:
    for info in store.list(MANIFESTS):
        name = info.key.removeprefix(MANIFESTS).removesuffix(".json")
        if name.isdigit():
            yield int(name)


def _read(store: Store, numbers: list[int]) -> tuple[Mapping[int, Manifest], Mapping[int, Fault]]:
    """Return the manifests, as they are or as they can be mended, and what is wrong with them."""
    found: dict[int, Manifest] = {}
    faults: dict[int, Fault] = {}
    for number in numbers:
        key = manifest_key(number)
        url, data = join_url(store.url, key), store.get(key)
        try:
            found[number] = decode_manifest(url, data)
        except CorruptFileError as error:
            if is_sealed(data):
                raise  # A newer version wrote it: nothing here can be judged by this one.
            mending = mended(data, is_sealed)
            if mending is not None:
                found[number] = decode_manifest(url, mending[0])
            was = None if mending is None else mending[0]
            faults[number] = Fault(kind="damaged", key=key, what=error.reason, mended=was)
    return found, faults


def _unpublished(expected: Expected, numbers: list[int]) -> Iterator[Fault]:
    """Yield what was published, by those who did it, and is not there."""
    for each in newest_first(expected.publications)[:1]:
        number, newest = int(each.version), numbers[-1] if numbers else -1
        if number in numbers:
            continue
        key, what = manifest_key(number), f"run {each.run} published it, and it is missing"
        if not numbers:
            what += ", as is every other: was the place emptied?"
        elif newest < number:
            what += f": readers see manifest {newest}"
        hides = numbers and newest < number
        yield Fault(kind="damaged" if hides else "doubtful", key=key, what=what)
