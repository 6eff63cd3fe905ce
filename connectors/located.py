"""From a source's spec to its files, through manifest or log where there is one.

A folder with manifests or a Delta log is never listed: what lies in it may be half an output,
or an old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from connectors.data_errors import OptionError
from connectors.formats.delta_log import DELTA_LOG, delta_content
from connectors.formats.files import store_options
from connectors.formats.registry import format_of_names
from connectors.listing import FoundFile, Listing, Stores, exact_files, files_below
from connectors.manifest import all_files, newest_manifest
from connectors.schema import SchemaOf, load_schema
from connectors.url import parse_url, split_glob

if TYPE_CHECKING:
    from connectors.splits import SourceSpec


class Located(msgspec.Struct, frozen=True):
    """The files of a source, their format, and the schemas that tables declare for them."""

    listing: Listing
    format: str
    declared: tuple[SchemaOf, ...] = ()
    all_declared: bool = False


class _Found(msgspec.Struct, frozen=True):
    """What one URL names. An empty format: not told by where the files were found."""

    files: tuple[FoundFile, ...]
    format: str = ""
    schema: pa.Schema | None = None


def located(spec: SourceSpec) -> Located:
    """Find the files of a source.

    Raises: NoFilesError, UnknownFormatError, OptionError for URLs of several formats.
    """
    stores = Stores(store_options(spec.options))
    found = [
        _Found((file,)) if file is not None else _found(url, spec, stores)
        for url, file in zip(spec.urls, exact_files(spec.urls, stores), strict=True)
    ]
    files = {(file.root, file.key): file for one in found for file in one.files}
    formats = {one.format or spec.format or _told(spec.urls, one) for one in found}
    if len(formats) > 1:
        reason = "its URLs hold several formats: read them as several sources"
        raise OptionError(spec.name, "format", ", ".join(sorted(formats)), reason)
    declared = [
        SchemaOf(url, one.schema)
        for url, one in zip(spec.urls, found, strict=True)
        if one.schema is not None
    ]
    listing = _compact(Listing(stores.all(), tuple(files.values())))
    return Located(listing, formats.pop(), tuple(declared), len(declared) == len(found))


def _compact(listing: Listing) -> Listing:
    """Leave out the stores that were only looked into: a reader would open them all."""
    used = sorted({file.root for file in listing.files})
    number = {root: index for index, root in enumerate(used)}
    files = tuple(
        file
        if number[file.root] == file.root
        else msgspec.structs.replace(file, root=number[file.root])
        for file in listing.files
    )
    return Listing(tuple(listing.stores[root] for root in used), files)


def _told(urls: tuple[str, ...], found: _Found) -> str:
    return format_of_names(urls[0], [file.key for file in found.files])


def _found(url: str, spec: SourceSpec, stores: Stores) -> _Found:
    _, pattern = split_glob(url)
    if pattern and spec.format != "delta":
        return _Found(tuple(files_below(url, stores)))
    folder = parse_url(url).url
    root, store = stores.opened(folder)
    if spec.format == "delta" or any(True for _ in store.list(DELTA_LOG)):
        content = delta_content(folder, store_options(spec.options), root)
        return _Found(content.files, "parquet", content.schema)
    manifest = newest_manifest(store)
    if manifest is None:
        return _Found(tuple(files_below(url, stores)))
    published = tuple(
        FoundFile(root, file.key, file.size_bytes, "", file.values or {})
        for file in all_files(store, manifest)
    )
    return _Found(published, manifest.format, load_schema(manifest.schema_ipc))
