"""The manifests of a dataset that we published: which files are its content.

`_manifests/{number:020d}.json` is created exclusively, and numbers have no gaps: of two publishers
that saw the same newest one, one wins the number after it, and the other looks again. The newest
one is the dataset. A manifest that appends names the earlier ones that it
adds to, so that reading costs one request for each, and appending does not copy their lists.

Each manifest carries the newest generation of every application that published here: a
publisher that finds its own is done, whatever became of its earlier answer.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.data_errors import CorruptFileError, OptionError, PublishConflictError
from connectors.errors import StoreUnsureError
from connectors.outputs import OutputFile
from connectors.schema import appended_schema, dump_schema, load_schema
from connectors.sealed import is_sealed, sealed
from connectors.url import join_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.store import Store

MANIFESTS: Final = "_manifests/"
FIRST_NUMBER: Final = 1
PUBLISH_TRIES_MAX: Final = 50


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published version. `schema_ipc` is the whole dataset's, partition columns included."""

    number: int
    format: str
    mode: str
    run: str
    app_id: str
    generation: int
    schema_ipc: bytes
    partition_by: tuple[str, ...]
    files: tuple[OutputFile, ...]
    previous: tuple[int, ...] = ()
    apps: dict[str, int] = {}
    seal: str = ""  # see `connectors.sealed`; the first manifests have none


def manifest_key(number: int) -> str:
    """Return where a manifest is."""
    return f"{MANIFESTS}{number:020d}.json"


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest, sealed."""
    return sealed(msgspec.json.encode(msgspec.structs.replace(manifest, seal="")))


def load_manifest(store: Store, number: int) -> Manifest:
    """Return a manifest. Raises: CorruptFileError, ObjectMissingError."""
    key = manifest_key(number)
    return decode_manifest(join_url(store.url, key), store.get(key))


def decode_manifest(url: str, data: bytes) -> Manifest:
    """Return the manifest that the bytes hold. Raises: CorruptFileError."""
    whole = is_sealed(data)
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = f"a newer version of rayorch wrote it ({error})" if whole else str(error)
        raise CorruptFileError(url, "manifest", reason) from error
    if found.seal and not whole:
        raise CorruptFileError(url, "manifest", "its checksum does not match its content")
    return found


def newest_manifest(store: Store) -> Manifest | None:
    """Return the manifest that is the dataset now, or None where nothing was published."""
    newest = -1
    for info in store.list(MANIFESTS):
        name = info.key.removeprefix(MANIFESTS).removesuffix(".json")
        if name.isdigit():
            newest = max(newest, int(name))
    return None if newest < 0 else load_manifest(store, newest)


def all_files(store: Store, manifest: Manifest) -> Iterator[OutputFile]:
    """Yield the files of the dataset, the earliest published first."""
    earlier = (load_manifest(store, number).files for number in manifest.previous)
    return chain(chain.from_iterable(earlier), manifest.files)


def publish_manifest(store: Store, wanted: Manifest) -> Manifest:
    """Make the manifest the newest one, once; return what was published.

    Raises: PublishConflictError after many tries, StoreError. Then nothing is visible, or
    publishing again finds it.
    """
    for _ in range(PUBLISH_TRIES_MAX):
        newest = newest_manifest(store)
        if newest is not None and newest.apps.get(wanted.app_id, -1) >= wanted.generation:
            return newest
        manifest = _after(newest, wanted)
        try:
            won = store.put_if_absent(manifest_key(manifest.number), encode_manifest(manifest))
        except StoreUnsureError:
            # It may have been written: the next look at the newest manifest tells.
            continue
        if won == "won":
            return manifest
    raise PublishConflictError(store.url, PUBLISH_TRIES_MAX)


def _after(newest: Manifest | None, wanted: Manifest) -> Manifest:
    """Return the manifest with its number, and joined to what it appends to.

    Raises: OptionError, OutputSchemaConflictError, when it cannot be joined.
    """
    if newest is None:
        apps = {wanted.app_id: wanted.generation}
        return msgspec.structs.replace(wanted, number=FIRST_NUMBER, apps=apps)
    # Never the generation: two publishers that skip to numbers of their own would both win, and
    # the lower number be hidden by the higher one, which was not joined to it.
    number = newest.number + 1
    apps = {**newest.apps, wanted.app_id: wanted.generation}
    if wanted.mode != "append":
        return msgspec.structs.replace(wanted, number=number, apps=apps)
    for option in ("format", "partition_by"):
        there, ours = getattr(newest, option), getattr(wanted, option)
        if there != ours:
            reason = f"what is appended must be as what is there, {there or 'nothing'}"
            raise OptionError(wanted.app_id, option, ours, reason)
    schema = appended_schema(load_schema(newest.schema_ipc), load_schema(wanted.schema_ipc))
    return msgspec.structs.replace(
        wanted,
        number=number,
        apps=apps,
        previous=(*newest.previous, newest.number),
        schema_ipc=dump_schema(schema),
    )
